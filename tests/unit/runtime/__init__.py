"""Tests of `runtime/` that need no server."""
