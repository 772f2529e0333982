"""Benchmarks on real processes, which are no part of the tests.

- __main__: measures speed and memory of a whole Truepenny (`make bench`).
- scenarios, report: what is measured, and how it is shown.
- load/: puts load on the API. target/: what is measured, from the outside.
- outage: measures intake, recovery and drain around an outage of the database
  (`make bench-outage`), with the processes and servers of `scenario`.
"""
