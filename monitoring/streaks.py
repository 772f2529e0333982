"""Streaks: failures that repeat for as long as an outage lasts, told without flooding the logs."""

from __future__ import annotations


class Streak:
    """Counts failures in a row, of which the 1st, 2nd, 4th, 8th, ... are worth a line."""

    def __init__(self) -> None:
        self.count = 0

    def add(self) -> bool:
        """Count one more. Returns: whether to tell of it."""
        self.count += 1
        return self.count.bit_count() == 1

    def end(self) -> int:
        """Forget them. Returns: how many there were."""
        count, self.count = self.count, 0
        return count
