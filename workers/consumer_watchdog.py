"""Consumer watchdog: reconnects a worker that receives nothing although messages wait.

A broker can drop a consumer silently, or keep one and deliver nothing to it: RabbitMQ does so
when a quorum queue is deleted and declared again at once. Without the watchdog the worker looks
healthy and idle while its queue fills.
"""

from __future__ import annotations

from typing import Any

from celery import bootsteps
from celery.worker import state

CHECK_EVERY_S = 2.0
MAX_SUSPICIOUS_CHECKS = 3
"""In a row. They take longer than a retry may wait in the worker."""


class ConsumerWatchdog(bootsteps.StartStopStep):
    """Checks from the worker's event loop whether messages wait although the worker is idle."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None
        self._suspicious_checks = 0
        self._received = 0

    def start(self, parent: Any) -> None:
        """Start over with each connection."""
        self.stop(parent)
        self._suspicious_checks = 0
        self._timer = parent.timer.call_repeatedly(CHECK_EVERY_S, self._check, (parent,))

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self, consumer: Any) -> None:
        before, self._received = self._received, sum(state.total_count.values())
        if self._received != before or state.reserved_requests or not _messages_wait(consumer):
            self._suspicious_checks = 0
            return
        self._suspicious_checks += 1
        if self._suspicious_checks >= MAX_SUSPICIOUS_CHECKS:
            # The event loop then reconnects, as after any lost connection.
            raise ConnectionError("messages wait, but this worker receives none")


def _messages_wait(consumer: Any) -> bool:
    """Return whether any queue that this worker consumes has messages.

    Raises: any error of the broker's client, which means that the connection is unusable.
    """
    tasks = consumer.task_consumer
    # A worker that pauses has cancelled its consumers, and should receive nothing.
    consumed = [queue for queue in tasks.queues if tasks.consuming_from(queue.name)]
    with consumer.connection.channel() as channel:
        return any(queue.bind(channel).queue_declare().message_count for queue in consumed)
