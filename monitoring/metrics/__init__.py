"""Metrics that the processes count themselves: defined, kept in files, and printed."""
