"""Tests of the API's parts that need a real database, cache or broker."""
