"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = [
    "tests.servers",
    "tests.databases",
    "tests.brokers",
    "tests.books",
    "tests.price_scene",
    "tests.durations",
    "tests.lanes",
    "tests.left_out",
]

# On a busy machine a deadline says nothing, and a found example belongs into the code.
settings.register_profile("truepenny", deadline=None, database=None, print_blob=True)
settings.load_profile("truepenny")
