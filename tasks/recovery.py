"""The recovery scan as a task: finds what stands still and drives it on from its state."""

from __future__ import annotations

from celery import Task, shared_task

from ledger import recovery
from ledger.database import transaction
from ledger.errors import Unavailable
from monitoring import traces
from monitoring.logs import get_logger
from monitoring.metrics.catalogue import REDRIVEN
from settings import Settings
from tasks import queues
from tasks.chain import links_from, of_batch, rollback
from tasks.engine import engine
from tasks.kick import kick_unless_one_waits
from tasks.noting import Run, noted

log = get_logger(__name__)

TASK_NAME = "scans.recover"


MAX_WAITING = 50
"""With this many batches in the queue, the workers are behind or gone: more messages would say
nothing new, and pile up without end while no worker takes them."""


@shared_task(bind=True, name=TASK_NAME)
def recover(self: Task[..., None]) -> None:
    """Drive on every transfer that has not moved for STUCK_AFTER_S, at most a bounded number.

    Safe beside live workers and beside a second scan. Published after the commit: what is
    lost in between is stuck again, and found again.
    """
    with noted("recovery") as run:
        try:
            _scan(self, run)
        except Unavailable as error:  # the next scan comes soon
            log.warning("scan_interrupted", error=str(error))
            run.ok, run.result = False, "interrupted: the database did not answer"


def _scan(task: Task[..., None], run: Run) -> None:
    stuck_after_s = Settings.from_environment().stuck_after_s
    if queues.count_waiting(task.app, queues.ADVANCE) < MAX_WAITING:
        count = _redrive(stuck_after_s, worker=task.request.hostname or "unknown")
        run.result = f"drove on {count} transfers" if count else "nothing stood still"
    else:
        run.ok, run.result = False, f"held back: {MAX_WAITING} batches or more wait for workers"
    with transaction(engine()) as connection:
        waiting = recovery.is_waiting(connection, waiting_s=stuck_after_s)
    if waiting:
        kick_unless_one_waits(task.app)


def _redrive(stuck_after_s: float, *, worker: str) -> int:
    """Returns: how many transfers were driven on."""
    with transaction(engine()) as connection:
        redrives = recovery.redrive_stuck(connection, stuck_after_s=stuck_after_s, worker=worker)
    for redrive in redrives:
        log.warning(
            "redriven",
            batch_id=str(redrive.batch_id),
            state=redrive.state,
            failed=redrive.failed,
            transfers=redrive.count,
        )
        REDRIVEN.labels(redrive.state).inc(redrive.count)
        with traces.begin("redrive", op="redrive"):
            if redrive.failed:
                of_batch(rollback, redrive.batch_id).apply_async()
            else:
                links_from(redrive.state, redrive.batch_id).apply_async()
    return sum(redrive.count for redrive in redrives)
