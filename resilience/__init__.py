"""Mechanisms against failure: threads, single flight, outage logs, cool-downs, Redis clients.

Must not know money, HTTP, or which servers there are. A log is handed in by the caller.
"""
