"""The scheduler of beat: survives outages, and adds no messages to a queue that nobody empties.

Sends a heartbeat with each pass over the schedule.
"""

from __future__ import annotations

import socket
from functools import cached_property
from typing import Any

from celery.beat import ScheduleEntry, Scheduler

from monitoring.heartbeats.emitter import HeartbeatEmitter
from monitoring.logs import get_logger
from resilience.outage_log import OutageLog
from settings import Settings
from tasks.broker import queues

log = get_logger(__name__)

MAX_WAITING_MESSAGES = 5
"""In one queue. With so many waiting no worker takes them, and one more would not help."""


class BoundedScheduler(Scheduler):
    """Skips an entry while its queue holds MAX_WAITING_MESSAGES messages that no worker has taken.

    Keeps nothing on disk: every entry runs at an interval of seconds, so a restart that forgets
    the last runs loses nothing, and there is no file that a crash could corrupt.
    """

    # Celery's producer is one connection for good, and beat would do nothing until it is made.
    # Without a producer, each message takes a connection from the application's pool.
    producer: Any = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._outages: dict[str, OutageLog] = {}
        super().__init__(*arguments, **options)

    max_interval = 2
    """The most seconds between two passes over the schedule, and so between two heartbeats."""

    def tick(self, *arguments: Any, **options: Any) -> float:
        """Send at most one entry that is due. Returns: the seconds until the next pass."""
        self._heartbeat.beat()
        return super().tick(*arguments, **options)

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        outage = self._outage_of(entry.name or "")
        try:
            waiting = queues.count_waiting(self.app, (entry.options or {})["queue"])
            if waiting < MAX_WAITING_MESSAGES:
                self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # noqa: BLE001 - any error of a broker's client: beat goes on
            # Celery itself would log a stack trace of fifty lines each time.
            reason = type(error).__name__
        else:
            if waiting < MAX_WAITING_MESSAGES:
                outage.recovered()
                return
            reason = f"{waiting} messages wait already"
        outage.failed(reason=reason)

    def _outage_of(self, entry: str) -> OutageLog:
        if entry not in self._outages:
            self._outages[entry] = OutageLog(
                log,
                "schedule_skipped",
                "schedule_resumed",
                repeats=True,
                count_as="skipped",
                recovered_level="info",
                entry=entry,
            )
        return self._outages[entry]

    @cached_property
    def _heartbeat(self) -> HeartbeatEmitter:
        return HeartbeatEmitter.of(f"beat@{socket.gethostname()}", Settings.from_environment())
