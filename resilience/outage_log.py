"""Outage log: logs when something begins to fail and when it recovers, not each failure.

Guarantees that a failure which repeats for hours adds only a few lines to the log.
"""

from __future__ import annotations

import threading

from resilience.event_log import EventLog, Level
from resilience.forks import call_in_children


class OutageLog:
    """Counts the consecutive failures of one operation. Threads may share it.

    Call `failed` after each failure and `recovered` after each success.
    """

    def __init__(
        self,
        log: EventLog,
        failed: str,
        recovered: str | None = None,
        *,
        repeats: bool = False,
        count_as: str | None = None,
        level: Level = "warning",
        recovered_level: Level = "warning",
        **fields: object,
    ) -> None:
        """Take the names of the events. recovered: None where the end is not logged.

        repeats: log the 1st, 2nd, 4th, 8th, … consecutive failure, not only the first.
        count_as: the field that holds the number of consecutive failures.
        fields: added to every event.
        """
        self._failed = failed
        self._recovered = recovered
        self._repeats = repeats
        self._count_as = count_as
        self._fields = fields
        self._log_failed = log.info if level == "info" else log.warning
        self._log_recovered = log.info if recovered_level == "info" else log.warning
        self._failures = 0
        self._make_lock()
        call_in_children(self._make_lock)

    def _make_lock(self) -> None:
        self._lock = threading.Lock()

    @property
    def failures(self) -> int:
        """The number of consecutive failures so far."""
        return self._failures

    def failed(self, **fields: object) -> None:
        """Count a failure, and log it if it is the first or a repeat to be logged."""
        with self._lock:
            self._failures += 1
            count = self._failures
        if count == 1 or (self._repeats and count.bit_count() == 1):
            counted = {self._count_as: count} if self._count_as else {}
            self._log_failed(self._failed, **self._fields, **fields, **counted)

    def recovered(self, **fields: object) -> None:
        """Reset the count, and log the recovery. Does nothing if there was no failure."""
        if not self._failures:  # the usual case needs no lock
            return
        with self._lock:
            count, self._failures = self._failures, 0
        if count and self._recovered is not None:
            self._log_recovered(self._recovered, **self._fields, **fields)
