"""The queues, by purpose: money apart from the rest, and new work apart from begun work."""

from __future__ import annotations

from typing import Final

RESERVE: Final = "money.reserve"
"""Kicks: each says no more than that something may have been accepted."""
STEPS: Final = "money.steps"
"""Batches under way, so that what was begun never waits behind what is new."""
SCANS: Final = "scans"
"""Beat's work: looking after what stands still."""
