"""Fixtures and settings that all tests share."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = [
    "testing.servers.shared",
    "testing.servers.databases",
    "testing.servers.brokers",
    "testing.corruptible_ledger",
    "testing.price_setup",
    "testing.suite.durations",
    "testing.suite.lanes",
    "testing.suite.left_out",
    "testing.suite.storms",
]

# A deadline fails on a busy machine, and a found example belongs in the code.
settings.register_profile("truepenny", deadline=None, database=None, print_blob=True)
settings.load_profile("truepenny")
