"""Workers do not take up work while the database is away.

Guarantees that nothing spins and nothing piles up in a worker's memory during an outage: the
queues whose tasks need the database are not consumed until it is back. What was begun is
tried again a few times and then left to the recovery scan.
"""

from __future__ import annotations

from typing import Any, Final

from celery import bootsteps

from ledger.database import build_engine, probe
from monitoring.database_watch import PROBE_TIMEOUT_S, DatabaseWatch
from monitoring.logs import get_logger
from settings import Settings
from tasks import queues

NEED_THE_DATABASE: Final = frozenset({queues.ADVANCE, queues.RESERVE, queues.SCANS})
LOOK_EVERY_S: Final = 0.5

log = get_logger(__name__)


class PauseWithoutDatabase(bootsteps.StartStopStep):
    """Compares, in the worker's event loop, what is consumed with what should be."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        url = Settings.from_environment().database_url
        # No pool: its connections would be inherited by every child that is forked.
        engine = build_engine(
            url,
            application_name="truepenny-probe",
            pool_size=0,
            statement_timeout_s=PROBE_TIMEOUT_S,
        )
        self._watch = DatabaseWatch(lambda: probe(engine))
        self._paused: set[str] = set()
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        self._watch.is_up()  # begins to probe
        self._timer = parent.timer.call_repeatedly(LOOK_EVERY_S, self._look, (parent,))

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, worker: Any) -> None:
        consumer = worker.consumer
        if consumer is None or consumer.task_consumer is None:
            return  # not connected to the broker; the next look comes soon
        if self._watch.is_up():
            self._resume(consumer)
        else:
            self._pause(consumer)

    def _pause(self, consumer: Any) -> None:
        # Each time anew: after a reconnect to the broker the consumer may have all of them.
        is_consumed = consumer.task_consumer.consuming_from
        consumed = sorted(name for name in NEED_THE_DATABASE if is_consumed(name))
        for name in consumed:
            # Noted first: Celery forgets the queue even when the broker does not hear of it.
            self._paused.add(name)
            consumer.cancel_task_queue(name)
        if consumed:
            log.warning("consuming_paused", queues=consumed)

    def _resume(self, consumer: Any) -> None:
        for name in sorted(self._paused):
            consumer.add_task_queue(name)
        if self._paused:
            log.warning("consuming_resumed", queues=sorted(self._paused))
        self._paused = set()
