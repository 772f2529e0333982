"""Tests of alert rules, heartbeats and the watch over servers, with real programs."""
