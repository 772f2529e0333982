"""The count scan as a task: keeps the counts of settled transfers up to date."""

from __future__ import annotations

from celery import shared_task

from ledger.errors import Unavailable
from ledger.postgres.database import transaction
from ledger.transfer_counts import extend_kept_counts
from monitoring.logs import get_logger
from tasks.engine import engine
from tasks.run_log import recorded_run

log = get_logger(__name__)

TASK_NAME = "scans.count"


@shared_task(name=TASK_NAME)
def count() -> None:
    """Count the transfers that settled since the last run. Safe to run twice at once."""
    with recorded_run("counts") as run:
        try:
            with transaction(engine()) as connection:
                added = extend_kept_counts(connection)
        except Unavailable as error:  # the next run catches up
            log.warning("count_interrupted", error=str(error))
            run.ok, run.result = False, "the database did not answer"
        else:
            run.result = f"{added} more have settled"
