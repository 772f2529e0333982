"""Metrics that the processes count themselves: defined, kept in files, and printed.

catalogue    every metric, and the series that start at zero
cardinality  limit of the series of a metric
files        crash-safe files of the values of a process
exposition   all files read and printed for Prometheus
port         HTTP port of programs that have no other
"""
