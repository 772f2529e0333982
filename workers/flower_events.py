"""Where Flower hears events from: a connection that is made anew for as long as it takes.

Flower itself doubles its pause after each failure without end, and after an outage of an hour
would stay deaf for another. And it shows RabbitMQ a sign of life only when nothing happens, so
that it is cut off where much does.
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
    """Gives a sign of life however much there is to hear."""

    def on_iteration(self) -> None:
        self.connection.heartbeat_check()


class SteadyEvents(Events):  # type: ignore[misc] # it has no types
    """Flower's events, heard again two seconds after the broker is back."""

    def run(self) -> None:
        """Hear events for as long as the process lives."""
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
                    # Asked for a sign of life, workers are known at once.
                    receiver.capture(limit=None, timeout=None, wakeup=True)
            except Exception as error:  # noqa: BLE001 - whatever a broker's client raises
                outage.failed(error=str(error))
            time.sleep(PAUSE_S)
