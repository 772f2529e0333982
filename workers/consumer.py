"""Celery's consumer, which keeps its pulse while it waits for a broker that is away.

Guarantees that an outage of the broker does not look like a worker that hangs. While the
consumer connects, nothing else runs in the worker's main process, not even its event loop;
so the pulse that the loop gives goes on from here.
"""

from __future__ import annotations

from typing import Any

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from monitoring.logs import EventLogger

events = EventLogger(__name__)

MAX_PAUSE_S = 2.0
"""Between two attempts. Celery's own pauses grow to half a minute, for which everything that
was accepted meanwhile would wait after the broker is back."""


class PatientConsumer(Consumer):
    """Waits for the broker for as long as it takes, and says once that it does."""

    controller: Any

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, trying again until it works or the worker is told to stop."""
        failures = 0

        def on_failure(error: Exception, _interval_s: float) -> None:
            nonlocal failures
            failures += 1
            if failures == 1:
                events.warning("broker_away", error=type(error).__name__)

        connection = conn.ensure_connection(
            on_failure,
            None,
            interval_start=0.2,
            interval_step=0.4,
            interval_max=MAX_PAUSE_S,
            callback=self._go_on,
        )
        self.first_connection_attempt = False
        if failures:
            events.info("broker_back", failures=failures)
        return connection

    def _go_on(self) -> None:
        """Run before each pause between attempts, and every second of it."""
        maybe_shutdown()
        self.controller.pulse.beat()
