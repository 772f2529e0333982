"""Tests of `prices/` that need no server."""
