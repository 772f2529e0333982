"""Queues of RabbitMQ that exist and do nothing any more, replaced by new ones.

A quorum queue that was declared less than a second before its only node was killed comes back
without a leader, or not at all, and stays so: it can be looked at, but whoever publishes to it
or consumes from it gets no answer, or an internal error. Only hints are thrown away here, which
the recovery scan makes anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import amqp
from celery import Celery
from kombu import Queue

from monitoring.logs import get_logger
from tasks import queues

DELETE_WITHIN_S = 15.0
"""RabbitMQ itself waits five seconds for the leader before it deletes a queue without one."""

SYMPTOMS = (TimeoutError, amqp.InternalError)
"""What a dead queue's users see, of a broker that lets them connect."""

log = get_logger(__name__)


def replace_dead_queues(app: Celery, *, beat: Callable[[], None]) -> None:
    """Delete the queues of this worker that do not answer; it declares them when it connects.

    beat: says that this process goes on; called before whatever may take long, for all
    queues together may take longer than a process may be silent.
    Harmless to repeat, and to do to a queue that was merely slow.
    Raises: whatever the broker's client raises when the broker does not answer.
    """
    selected: Any = app.amqp.queues.consume_from
    for name, queue in selected.items():
        if name not in queues.HINTS:
            continue
        beat()
        if not _answers(app, queue):
            beat()
            _delete(app, queue)
            log.error("queue_replaced", queue=name)


def _answers(app: Celery, queue: Queue) -> bool:
    with app.connection_for_read() as connection:
        try:
            # What it gives, it gets back when the connection is closed.
            queue.bind(connection.default_channel).get(no_ack=False)
        except SYMPTOMS:
            connection.collect()  # to close it in order is to wait for an answer again
            return False
    return True


def _delete(app: Celery, queue: Queue) -> None:
    patience = {"read_timeout": DELETE_WITHIN_S}
    with app.connection_for_write(transport_options=patience) as connection:
        queue.bind(connection.default_channel).delete()
