"""Tests of the ledger's functions on a real PostgreSQL."""
