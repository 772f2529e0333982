"""Tests of `api/` that need no server."""
