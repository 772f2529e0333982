"""Queue repair: replaces queues of RabbitMQ that exist but no longer work.

A quorum queue that was declared less than a second before its only node was killed comes back
without a leader, or not at all, and stays so: it can be inspected, but publishing to it or
consuming from it gets no answer, or an internal error. Only hints are lost here; the recovery
scan publishes new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import amqp
from celery import Celery
from kombu import Queue

from monitoring.logs import get_logger
from tasks.broker import queues

DELETE_WITHIN_S = 15.0
"""RabbitMQ itself waits five seconds for the leader before it deletes a queue without one."""

SYMPTOMS = (TimeoutError, amqp.InternalError)
"""The errors of a dead queue, on a broker that accepts connections."""

log = get_logger(__name__)


def replace_dead_queues(app: Celery, *, beat: Callable[[], None]) -> None:
    """Delete the queues of this worker that do not answer; it declares them when it connects.

    beat: sends a heartbeat; called before each slow operation, since all queues together may
    take longer than the time allowed between heartbeats.
    Harmless to repeat, and harmless to a queue that was only slow.
    Raises: any error of the broker's client, when the broker does not answer.
    """
    selected: Any = app.amqp.queues.consume_from
    for queue in selected.values():
        name = queue.alias
        if name not in queues.HINTS:
            continue
        beat()
        if not _answers(app, queue):
            beat()
            patience = {"read_timeout": DELETE_WITHIN_S}
            with app.connection_for_write(transport_options=patience) as connection:
                queue.bind(connection.default_channel).delete()
            log.error("queue_replaced", queue=name)


def _answers(app: Celery, queue: Queue) -> bool:
    with app.connection_for_read() as connection:
        try:
            # A message that it delivers returns to the queue when the connection closes.
            queue.bind(connection.default_channel).get(no_ack=False)
        except SYMPTOMS:
            connection.collect()  # an orderly close would wait for an answer again
            return False
    return True
