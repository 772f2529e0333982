"""Tests of `monitoring/` that need no server."""
