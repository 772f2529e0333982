"""The recovery scan as a task: finds transfers that do not move, and re-drives them.

Beat sends it (`beat.schedule`); `ledger.recovery` finds the transfers and gives them new batches.
"""

from __future__ import annotations

import time

from celery import Task, shared_task
from kombu.exceptions import OperationalError

from ledger import blocked, recovery
from ledger.errors import Unavailable
from ledger.funds import waits
from ledger.postgres.database import transaction
from monitoring.logs import get_logger
from monitoring.metrics.catalogue import REDRIVEN
from monitoring.sentry import tracing
from settings import Settings
from tasks.broker import queues
from tasks.broker.kick import kick_unless_one_waits
from tasks.chain import RELEASE_ROUNDS, chain_from, rollback, task_for_batch
from tasks.engine import engine
from tasks.run_log import JobRun, recorded_run

log = get_logger(__name__)

TASK_NAME = "scans.recover"
SOFT_TIME_LIMIT_S = 30
TIME_LIMIT_S = 35
"""A scan takes a second, and half a minute at most where every answer comes late. One that hangs
must not keep the next one waiting for as long as other tasks may take."""
PUBLISHES_FOR_S = 10.0
"""On a broker that takes seconds for each message, what is left is left to the next scan."""
MAX_WAITING_BATCHES = 50
"""With so many batches in the queue, the workers are slow or gone, and most transfers that seem
stuck wait there. Those that were driven before are left alone, or messages would pile up."""


@shared_task(bind=True, name=TASK_NAME, soft_time_limit=SOFT_TIME_LIMIT_S, time_limit=TIME_LIMIT_S)
def recover(self: Task[..., None]) -> None:
    """Re-drive transfers that have not moved for STUCK_AFTER_S, a bounded number of them.

    Safe beside live workers and beside a second scan. Messages are published after the commit:
    if they are lost, the transfers are stuck again, and the next scan finds them.
    """
    with recorded_run("recovery") as run:
        try:
            _scan(self, run)
        except (Unavailable, OperationalError) as error:  # the next scan comes soon
            log.warning("scan_interrupted", error=str(error))
            who = "database" if isinstance(error, Unavailable) else "broker"
            run.ok, run.result = False, f"interrupted: the {who} did not answer"


def _scan(task: Task[..., None], run: JobRun) -> None:
    stuck_after_s = Settings.from_environment().stuck_after_s
    is_full = queues.count_waiting(task.app, queues.ADVANCE) >= MAX_WAITING_BATCHES
    worker = task.request.hostname or "unknown"
    count = _redrive(stuck_after_s, worker=worker, behind_backlog=is_full)
    run.result = f"re-drove {count} transfers" if count else "no transfer was stuck"
    if is_full:
        run.ok = False
        run.result += f"; {MAX_WAITING_BATCHES} batches or more wait for workers"
    released = _release_ended()
    with transaction(engine()) as connection:
        waiting = recovery.is_waiting(connection, waiting_s=stuck_after_s)
    if released or waiting:
        kick_unless_one_waits(task.app)


def _redrive(stuck_after_s: float, *, worker: str, behind_backlog: bool) -> int:
    """Re-drive stuck transfers. Returns: their number."""
    with transaction(engine()) as connection:
        released = blocked.release(connection)
    if released:
        log.info("wallets_released", wallets=len(released), wallet_id=str(released[0]))
    with transaction(engine()) as connection:
        redrives = recovery.redrive_stuck(
            connection, stuck_after_s=stuck_after_s, worker=worker, behind_backlog=behind_backlog
        )
    stop_at_s = time.monotonic() + PUBLISHES_FOR_S
    for redrive in redrives:
        if time.monotonic() > stop_at_s:
            raise OperationalError("The broker takes too long for each message.")
        log.warning(
            "redriven",
            batch_id=str(redrive.batch_id),
            state=redrive.state,
            failed=redrive.failed,
            transfers=redrive.count,
        )
        REDRIVEN.labels(redrive.state).inc(redrive.count)
        with tracing.begin("redrive", op="redrive"):
            if redrive.failed:
                task_for_batch(rollback, redrive.batch_id).apply_async()
            else:
                chain_from(redrive.state, redrive.batch_id).apply_async()
    return sum(redrive.count for redrive in redrives)


def _release_ended() -> int:
    """Release what still waits for a transfer that has ended. Returns: how many transfers."""
    count = 0
    for _ in range(RELEASE_ROUNDS):
        with transaction(engine()) as connection:
            released = waits.release_ended(connection)
        count += released
        if released < waits.RELEASED_AT_ONCE:
            break
    return count
