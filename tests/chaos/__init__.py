"""Tests of workers and brokers under faults: killed, frozen, emptied, and messages lost or late."""
