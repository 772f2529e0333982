"""Mechanisms against failure: background threads, single flight, outage logs, cool-downs.

Must not know money, HTTP, or which servers there are. A log is handed in by the caller.
"""
