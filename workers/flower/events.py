"""Flower's event receiver: reconnects to the broker after every failure.

Flower itself doubles its pause after each failure without limit: after an outage of an hour it
would receive nothing for another hour. And it sends RabbitMQ heartbeats only when no events
come, so RabbitMQ closes the connection of a busy Flower.
"""

from __future__ import annotations

import time
from typing import Final

from celery.events.receiver import EventReceiver
from flower.events import Events  # type: ignore[import-untyped] # it has no types

from monitoring.logs import get_logger
from resilience.outage_log import OutageLog

log = get_logger(__name__)

PAUSE_S: Final = 2.0


class _Receiver(EventReceiver):
    """Sends heartbeats however many events come."""

    def on_iteration(self) -> None:
        self.connection.heartbeat_check()


class SteadyEvents(Events):  # type: ignore[misc] # it has no types
    """Flower's events, received again two seconds after the broker is back."""

    def run(self) -> None:
        """Receive events until the process ends."""
        outage = OutageLog(
            log,
            "events_not_heard",
            "events_heard_again",
            repeats=True,
            count_as="times",
            recovered_level="info",
        )
        while True:
            try:
                with self.capp.connection_for_read() as connection:
                    connection.connect()
                    outage.recovered()
                    receiver = _Receiver(connection, handlers={"*": self.on_event}, app=self.capp)
                    # It asks workers for an event, so that Flower knows them at once.
                    receiver.capture(limit=None, timeout=None, wakeup=True)
            except Exception as error:  # noqa: BLE001 - any error of a broker's client
                outage.failed(error=str(error))
            time.sleep(PAUSE_S)
