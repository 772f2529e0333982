"""Pauses consumption: workers take no tasks that need the database while it is away.

Guarantees that during an outage no worker retries in a tight loop and none collects messages in
its memory: the queues whose tasks need the database are not consumed until it is back. A task
that has begun is retried a few times, and its transfers are then left to the recovery scan.
"""

from __future__ import annotations

from typing import Any, Final

from celery import bootsteps

from ledger.postgres.database import build_engine, probe
from monitoring.health.database_breaker import PROBE_TIMEOUT_S, DatabaseBreaker
from monitoring.health.timeline_memory import timeline_memory
from monitoring.logs import get_logger
from settings import Settings
from tasks.broker import queues

NEED_THE_DATABASE: Final = frozenset({queues.ADVANCE, queues.RESERVE, queues.SCANS})
CHECK_EVERY_S: Final = 0.5

log = get_logger(__name__)


class PauseWithoutDatabase(bootsteps.StartStopStep):
    """Pauses and resumes the queues that need the database, from the worker's event loop."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        settings = Settings.from_environment()
        memory = timeline_memory(settings)
        # No pool: every forked child would inherit its connections.
        engine = build_engine(
            settings.database_url,
            application_name="truepenny-probe",
            pool_size=0,
            statement_timeout_s=PROBE_TIMEOUT_S,
        )
        self._breaker = DatabaseBreaker(lambda: probe(engine, compare=memory.compare))
        self._paused: set[str] = set()
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        self._breaker.is_up()  # starts the probes
        self._timer = parent.timer.call_repeatedly(CHECK_EVERY_S, self._check, (parent,))

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        if self._timer is not None:
            self._timer.cancel()

    def _check(self, worker: Any) -> None:
        consumer = worker.consumer
        if consumer is None or consumer.task_consumer is None:
            return  # not connected to the broker; the next check comes soon
        if not self._breaker.is_up():
            self._pause(consumer)
            return
        for name in sorted(self._paused):
            consumer.add_task_queue(_own_name(consumer, name))
        if self._paused:
            log.warning("consuming_resumed", queues=sorted(self._paused))
        self._paused = set()

    def _pause(self, consumer: Any) -> None:
        # At every check: after a reconnect to the broker the consumer may have all of them again.
        is_consumed = consumer.task_consumer.consuming_from
        consumed = {
            name: own
            for name in sorted(NEED_THE_DATABASE)
            if is_consumed(own := _own_name(consumer, name))
        }
        for name, own in consumed.items():
            # Added first: Celery forgets the queue even if the broker does not get the message.
            self._paused.add(name)
            consumer.cancel_task_queue(own)
        if consumed:
            log.warning("consuming_paused", queues=list(consumed))


def _own_name(consumer: Any, name: str) -> str:
    """Return the name of a queue on the broker."""
    return str(consumer.app.amqp.queues[name].name)
