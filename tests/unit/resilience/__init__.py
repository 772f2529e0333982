"""Tests of `resilience/` that need no server."""
