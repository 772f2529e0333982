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

    # Celery's own is one connection for life, and beat would do nothing at all until it is
    # made. The application's pool, which is asked where there is no producer, makes others.
    producer: Any = None

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        try:
            waiting = queues.count_waiting(self.app, (entry.options or {})["queue"])
            if waiting < MAX_WAITING:
                self.apply_async(entry, producer=producer, advance=False)
                return
        except Exception as error:  # noqa: BLE001 - whatever a broker's client raises: beat lives on
            # Celery's own would log a stack of fifty lines, every few seconds.
            events.warning("schedule_not_sent", entry=entry.name, error=type(error).__name__)
            return
        events.warning("schedule_skipped", entry=entry.name, waiting=waiting)
