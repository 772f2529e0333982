"""Tests of a whole installation while the database or the cache is away; broker: see `chaos/`."""
