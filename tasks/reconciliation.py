"""The consistency scan as a task: some seconds of it at a time, beside other scans."""

from __future__ import annotations

from typing import Any

from celery import Celery, shared_task

from ledger import reconciling
from ledger.errors import Unavailable
from ledger.findings import Finding
from ledger.reconciliations import Reconciliation
from monitoring import check_ins
from monitoring.logs import get_logger
from settings import Settings
from tasks import queues
from tasks.engine import engine

log = get_logger(__name__)

TASK_NAME = "scans.reconcile"
WORKS_FOR_S = 2.0
"""Well below the time between two beats, so that a long run leaves the processes that scan more
than half of their time."""
MAX_WAITING = 5
"""With so many scans in the queue nobody does them, and one more would be done no sooner."""


@shared_task(name=TASK_NAME)
def reconcile() -> None:
    """Go on with the run that is under way, or begin one when it is time for it.

    Safe to run twice at once, and to die anywhere: the next one goes on from there.
    """
    every_s = Settings.from_environment().reconcile_every_s
    found: list[Finding] = []
    try:
        run = reconciling.work(engine(), every_s=every_s, works_for_s=WORKS_FOR_S, found=found)
    except Unavailable as error:  # the next beat comes soon
        log.warning("reconciliation_interrupted", error=str(error))
        check_ins.note(ok=False)
    else:
        check_ins.note(ok=run is None or run.state != "failed")
        _tell_end(run)
    finally:
        for finding in found:
            _tell(finding)


def publish_unless_scans_wait(app: Celery) -> None:
    """Have the task done now, not with the next beat. Raises: whatever the broker's client does."""
    if queues.count_waiting(app, queues.SCANS) < MAX_WAITING:
        reconcile.apply_async()


def _tell(finding: Finding) -> None:
    # No amounts and no details in the log: those are in the record.
    fields: dict[str, Any] = {
        "kind": finding.kind,
        "wallet_id": finding.wallet_id,
        "asset": finding.asset,
        "transfer_id": finding.transfer_id,
    }
    if finding.action == "rebuilt":
        log.warning("projection_rebuilt", **fields)
    else:
        log.error("journal_wrong", action=finding.action, **fields)


def _tell_end(run: Reconciliation | None) -> None:
    if run is None or run.state == "running":
        return
    fields: dict[str, Any] = {
        "reconciliation_id": run.id,
        "is_full": run.is_full,
        "wallets": run.wallets_checked,
        "transfers": run.transfers_checked,
        "findings": run.findings_count,
        "standing": run.standing_count,
    }
    if run.state == "failed":
        log.error("reconciliation_failed", phase=run.phase, **fields)
    else:
        log.info("reconciled", **fields)
