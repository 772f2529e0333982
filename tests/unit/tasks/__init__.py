"""Tests of `tasks/` that need no server."""
