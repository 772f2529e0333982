"""A worker that no longer hears its queues notices it, and connects anew.

A broker can lose a consumer without a word, or keep one that it gives nothing to: RabbitMQ does
when a quorum queue is deleted and declared again at once. The worker then looks healthy, and
waits for ever beside a queue that fills.
"""

from __future__ import annotations

from typing import Any

from celery import bootsteps
from celery.worker import state

CHECK_EVERY_S = 2.0
SUSPICIONS = 3
"""So many checks in a row, which take longer than a retry may wait in the worker for its time."""


class ConsumerWatchdog(bootsteps.StartStopStep):
    """Checks, from the worker's event loop, that messages do not wait for hands that are idle."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None
        self._suspicions = 0
        self._received = 0

    def start(self, parent: Any) -> None:
        """Begin anew with each connection."""
        self.stop(parent)
        self._suspicions = 0
        self._timer = parent.timer.call_repeatedly(CHECK_EVERY_S, self._check, (parent,))

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self, consumer: Any) -> None:
        before, self._received = self._received, sum(state.total_count.values())
        if self._received != before or state.reserved_requests or not _messages_wait(consumer):
            self._suspicions = 0
            return
        self._suspicions += 1
        if self._suspicions >= SUSPICIONS:
            # The event loop takes it for what it is, a connection that is lost.
            raise ConnectionError("messages wait, and none of them arrives here")


def _messages_wait(consumer: Any) -> bool:
    """Whether any queue that this worker listens to has messages.

    Raises: whatever the broker's client raises: the connection is of no use, then.
    """
    listened = [each for each in consumer.task_consumer.queues if _listens(consumer, each.name)]
    with consumer.connection.channel() as channel:
        return any(queue.bind(channel).queue_declare().message_count for queue in listened)


def _listens(consumer: Any, name: str) -> bool:
    # A worker that pauses on purpose has cancelled its consumers, and need not hear anything.
    return bool(consumer.task_consumer.consuming_from(name))
