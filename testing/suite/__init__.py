"""Test suite: lanes side by side, recorded durations, programs that may be absent."""
