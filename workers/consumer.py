"""The worker's side of the broker: it outlives every outage, and resumes within seconds.

Celery's own consumer waits up to 30 s between attempts to connect, ends the process when the
broker refuses an operation (memory full, a queue deleted under it), and starts over at once,
without a pause, when it connects and then fails. Here every failure is followed by another
attempt, soon but never at once for long, and the log grows slowly, however long it takes.

While the consumer connects, nothing else runs in the worker's main process, not even its event
loop. So the pulse that the loop gives (`workers.lifecycle`) goes on from here: an outage of
the broker must not look like a worker that hangs.
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
CALM_AFTER_S = 10.0
"""A connection that has held for so long was a good one: the next failure is a new outage."""

PATIENCE = 3
"""So often a broker may let us connect and then fail, until we look whether a queue is dead."""

log = get_logger(__name__)


class SteadyConsumer(Consumer):
    """Celery's consumer, with pauses between attempts that suit an outage of any length."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[valid-type, misc] # no variable, a class
        """Celery's steps, but for the one that sets up delayed delivery.

        That would make 28 more queues and a pause in whole seconds. Our retries come within
        three seconds, and wait for their time in the worker, as they do on Redis.
        """

        default_steps = tuple(
            step
            for step in Consumer.Blueprint.default_steps
            if not step.endswith(":DelayedDelivery")
        )

    # Set by Celery's consumer, which says nothing about their types.
    controller: Any
    conninfo: Any
    connection_errors: Any
    channel_errors: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._outage = OutageLog(log, "broker_lost", repeats=True, count_as="failures")
        self._silences = 0
        self._failed_at_s = float("-inf")

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long the broker takes to come."""
        connected = conn.ensure_connection(
            self._on_refused,
            interval_start=FIRST_PAUSE_S,
            interval_step=FIRST_PAUSE_S,
            interval_max=MAX_PAUSE_S,
            callback=self._go_on,
        )
        self.first_connection_attempt = False
        return connected

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Any:
        """The connection for events, which nobody waits for: without publisher confirms."""
        # A broker that has no memory left confirms nothing, and the event loop would hang on
        # each event. The transport of Redis knows no such option and does not mind it.
        return self.ensure_connected(
            self.app.connection_for_write(
                url=url, heartbeat=heartbeat, transport_options={"confirm_publish": False}
            )
        )

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Pause: this is an error that `ensure_connected` does not wait for, like a wrong name."""
        self._pause(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Drop the connection as Celery does, and pause before the next one."""
        with warnings.catch_warnings():
            # Each time it would praise a setting that we have chosen against.
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)
        self._pause(exc)
        self._silences += isinstance(exc, SYMPTOMS) and self._is_amqp
        if self._silences >= PATIENCE:
            self._silences = 0
            self._replace_dead_queues()

    @property
    def _is_amqp(self) -> bool:
        return bool(self.app.connection_for_read().transport.driver_type == "amqp")

    def _replace_dead_queues(self) -> None:
        try:
            replace_dead_queues(self.app, beat=self.controller.heartbeat.beat)
        except Exception as error:  # noqa: BLE001 - whatever a broker's client raises: later again
            self._note(error)

    def _go_on(self) -> None:
        """Run before each pause between attempts, and every second of it."""
        maybe_shutdown()
        self.controller.heartbeat.beat()

    def _on_refused(self, error: Exception, _interval_s: float) -> None:
        self._note(error)

    def _pause(self, error: Exception) -> None:
        self._note(error)
        time.sleep(min(FIRST_PAUSE_S * 2.0 ** min(self._outage.failures, 10), MAX_PAUSE_S))

    def _note(self, error: Exception) -> None:
        now_s = time.monotonic()
        if now_s - self._failed_at_s > CALM_AFTER_S:
            self._outage.recovered()
            self._silences = 0
        self._failed_at_s = now_s
        self._outage.failed(error=type(error).__name__, detail=str(error))
