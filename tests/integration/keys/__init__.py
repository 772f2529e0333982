"""Tests of clients and their API keys on a real PostgreSQL."""
