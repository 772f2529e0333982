"""Tests of `ledger/` that need no server."""
