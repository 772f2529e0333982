"""Benchmarks on real processes, which are no part of the tests.

- outage: measures intake, recovery and drain around an outage of the database.
- scenario: starts the processes and servers that are measured.
"""
