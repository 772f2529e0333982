"""Intake buffer: entries kept on the broker during an outage, and their replay.

- entries: the format of an entry, and the buffer that holds it; seal: the mark that proves it.
- replaying: turns entries into transfers; rejected: those that could not become one.
- set_aside: entries that are not replayed; missing: requests that the buffer has lost.
"""
