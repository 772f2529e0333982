"""Tests of `settings/` that need no server."""
