"""Database clock: the database's time, also while the database is away.

Guarantees that a process whose own clock is wrong judges times as the database does, if it has
heard the database's time once. Only a process that starts during an outage goes by its own clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class DatabaseClock:
    """The database's time when it was last told, and the time that has passed since."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.elapsed_s = monotonic
        """The time since some moment in seconds, which no change of a clock affects."""
        self._told: tuple[datetime, float] | None = None

    def set(self, now: datetime, *, asked_at_s: float) -> None:
        """Take the database's time. asked_at_s: `elapsed_s()` when it was asked for."""
        self._told = (now, asked_at_s)

    def now(self) -> datetime:
        """Return the database's time, never earlier than it is."""
        told = self._told
        if told is None:
            return datetime.now(UTC)
        then, asked_at_s = told
        return then + timedelta(seconds=self.elapsed_s() - asked_at_s)
