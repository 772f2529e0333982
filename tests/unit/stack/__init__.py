"""Tests of `stack/` that need no server."""
