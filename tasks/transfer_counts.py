"""Carrying on the counts of what has ended, as a task."""

from __future__ import annotations

from celery import shared_task

from ledger.errors import Unavailable
from ledger.postgres.database import transaction
from ledger.transfer_counts import extend_kept_counts
from monitoring.logs import get_logger
from tasks.engine import engine
from tasks.run_log import noted

log = get_logger(__name__)

TASK_NAME = "scans.count"


@shared_task(name=TASK_NAME)
def count() -> None:
    """Count what has ended since the last time. Safe to run twice at once."""
    with noted("counts") as run:
        try:
            with transaction(engine()) as connection:
                added = extend_kept_counts(connection)
        except Unavailable as error:  # the next count makes up for it
            log.warning("count_interrupted", error=str(error))
            run.ok, run.result = False, "the database did not answer"
        else:
            run.result = f"{added} more have ended"
