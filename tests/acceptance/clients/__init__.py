"""Acceptance tests of clients and their API keys over HTTP."""
