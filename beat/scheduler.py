"""A scheduler that does not pile up work while nobody does it."""

from __future__ import annotations

from typing import Any

from celery.beat import ScheduleEntry, Scheduler

from monitoring.logs import EventLogger
from tasks import queues

events = EventLogger(__name__)

MAX_WAITING = 5


class BoundedScheduler(Scheduler):
    """Skips an entry while its queue holds MAX_WAITING messages that no worker has taken.

    Keeps nothing on disk: every entry runs at an interval of seconds, so a restart that
    forgets the last runs loses nothing, and there is no file that a crash could corrupt.
    """

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        try:
            waiting = queues.count_waiting(self.app, (entry.options or {})["queue"])
        except Exception as error:  # noqa: BLE001 - whatever a broker's client raises: beat lives on
            events.warning("schedule_not_sent", entry=entry.name, error=type(error).__name__)
            return
        if waiting >= MAX_WAITING:
            events.warning("schedule_skipped", entry=entry.name, waiting=waiting)
            return
        super().apply_entry(entry, producer)
