"""Benchmarks: what Truepenny takes, measured on real processes. Never part of the tests."""
