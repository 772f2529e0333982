"""The worker's consumer: survives every outage of the broker, and resumes within seconds.

Celery's own consumer waits up to 30 s between attempts to connect, ends the process when the
broker refuses an operation (memory full, a queue deleted), and retries without a pause when it
connects and then fails. Here every failure is followed by another attempt after a short pause,
and log lines become rarer the longer an outage lasts.

While the consumer connects, nothing else runs in the worker's main process, not even its event
loop. So the heartbeats of the loop (`workers.lifecycle`) are sent from here meanwhile: during an
outage of the broker a worker must not look as if it hangs.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from monitoring.logs import get_logger
from resilience.outage_log import OutageLog
from workers.queue_repair import SYMPTOMS, replace_dead_queues

FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 1.0
STABLE_AFTER_S = 10.0
"""A connection that held for so long was stable: the next failure begins a new outage."""

MAX_SYMPTOMS = 3
"""After so many connections that showed a symptom of a dead queue, dead queues are replaced."""

log = get_logger(__name__)


class SteadyConsumer(Consumer):
    """Celery's consumer, with short pauses between attempts, for outages of any length."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[valid-type, misc] # a class, not a variable
        """Celery's steps, without the one that sets up delayed delivery.

        Delayed delivery would add 28 queues and delay by whole seconds. Our retries come within
        three seconds, and wait in the worker, as they do on Redis.
        """

        default_steps = tuple(
            step
            for step in Consumer.Blueprint.default_steps
            if not step.endswith(":DelayedDelivery")
        )

    # Set by Celery's consumer, which does not declare their types.
    controller: Any
    conninfo: Any
    connection_errors: Any
    channel_errors: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._outage = OutageLog(log, "broker_lost", repeats=True, count_as="failures")
        self._symptoms = 0
        self._failed_at_s = float("-inf")

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long the broker stays away."""

        def between_attempts() -> None:  # also called every second of a pause
            maybe_shutdown()
            self.controller.heartbeat.beat()

        connected = conn.ensure_connection(
            lambda error, _interval_s: self._note(error),
            interval_start=FIRST_PAUSE_S,
            interval_step=FIRST_PAUSE_S,
            interval_max=MAX_PAUSE_S,
            callback=between_attempts,
        )
        self.first_connection_attempt = False
        return connected

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Any:
        """Return the connection for events, without publisher confirms: events may be lost."""
        # A broker without free memory confirms nothing, and each event would block the event
        # loop. The transport of Redis ignores this option.
        return self.ensure_connected(
            self.app.connection_for_write(
                url=url, heartbeat=heartbeat, transport_options={"confirm_publish": False}
            )
        )

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Pause after an error that `ensure_connected` does not retry, like a wrong host name."""
        self._pause(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Drop the connection as Celery does, and pause before the next one."""
        with warnings.catch_warnings():
            # It would warn each time about a setting that we leave off on purpose.
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)
        self._pause(exc)
        self._symptoms += isinstance(exc, SYMPTOMS) and self._is_amqp
        if self._symptoms >= MAX_SYMPTOMS:
            self._symptoms = 0
            try:
                replace_dead_queues(self.app, beat=self.controller.heartbeat.beat)
            except Exception as error:  # noqa: BLE001 - any error of a broker's client: later again
                self._note(error)

    @property
    def _is_amqp(self) -> bool:
        return bool(self.app.connection_for_read().transport.driver_type == "amqp")

    def _pause(self, error: Exception) -> None:
        self._note(error)
        time.sleep(min(FIRST_PAUSE_S * 2.0 ** min(self._outage.failures, 10), MAX_PAUSE_S))

    def _note(self, error: Exception) -> None:
        now_s = time.monotonic()
        if now_s - self._failed_at_s > STABLE_AFTER_S:
            self._outage.recovered()
            self._symptoms = 0
        self._failed_at_s = now_s
        self._outage.failed(error=type(error).__name__, detail=str(error))
