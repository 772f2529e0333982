"""A scheduler that does not pile up work while nobody does it, and shows that it goes on."""

from __future__ import annotations

import socket
from functools import cached_property
from typing import Any

from celery.beat import ScheduleEntry, Scheduler

from monitoring.logs import EventLogger
from monitoring.pulse import Pulse
from settings import Settings
from tasks import queues

events = EventLogger(__name__)

MAX_WAITING = 5


class BoundedScheduler(Scheduler):
    """Skips an entry while its queue holds MAX_WAITING messages that no worker has taken.

    Keeps nothing on disk: every entry runs at an interval of seconds, so a restart that
    forgets the last runs loses nothing, and there is no file that a crash could corrupt.
    """

    max_interval = 2
    """Seconds between two looks at the schedule at most, and so between two heartbeats."""
    Producer: Any

    def tick(self, *arguments: Any, **options: Any) -> float:
        """Send at most one entry that is due. Returns: the seconds until the next look."""
        self._pulse.beat()
        return super().tick(*arguments, **options)

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

    @cached_property
    def producer(self) -> Any:
        """What entries are sent with. It connects when it must, and gives up soon.

        Celery's own connects at once, for as long as it takes, and beat stands still.
        """
        return self.Producer(self.connection, auto_declare=False)

    @cached_property
    def _pulse(self) -> Pulse:
        return Pulse.of(f"beat@{socket.gethostname()}", Settings.from_environment())
