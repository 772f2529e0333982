"""The consistency scan as a task: a few seconds of a run at a time, beside other scans."""

from __future__ import annotations

from typing import Any

from celery import Celery, shared_task

from ledger.errors import Unavailable
from ledger.reconciliation import scan
from ledger.reconciliation.findings import Finding
from ledger.reconciliation.runs import Reconciliation
from monitoring.logs import get_logger
from monitoring.sentry import check_ins
from settings import Settings
from tasks.broker import queues
from tasks.engine import engine

log = get_logger(__name__)

TASK_NAME = "scans.reconcile"
WORKS_FOR_S = 1.8
"""Below the interval of beat: with nothing else to do, a run goes on almost without a pause, and a
worker of its own still takes each of the other scans in between."""
YIELDS_AFTER_S = 0.8
"""While others write, a run takes less than half of the time."""
MAX_WAITING_SCANS = 5
"""With so many scans in the queue no worker takes them, and one more would not help."""


@shared_task(name=TASK_NAME)
def reconcile() -> None:
    """Continue the current run, or begin a new one when it is due.

    Safe to run twice at once, and to be killed at any point: the next task continues from there.
    """
    every_s = Settings.from_environment().reconcile_every_s
    found: list[Finding] = []
    try:
        run = scan.work(
            engine(),
            every_s=every_s,
            works_for_s=WORKS_FOR_S,
            yields_after_s=YIELDS_AFTER_S,
            found=found,
        )
    except Unavailable as error:  # the next task comes soon
        log.warning("reconciliation_interrupted", error=str(error))
        check_ins.note(ok=False)
    else:
        check_ins.note(ok=run is None or run.state != "failed")
        if run is not None and run.state != "running":
            _log_end(run)
    finally:
        for finding in found:
            _log_finding(finding)


def publish_unless_scans_wait(app: Celery) -> None:
    """Publish the task now, unless many scans wait. Raises: any error of the broker's client."""
    if queues.count_waiting(app, queues.SCANS) < MAX_WAITING_SCANS:
        reconcile.apply_async()


def _log_finding(finding: Finding) -> None:
    # Amounts and details are not logged: they are in the record.
    fields: dict[str, Any] = {
        "kind": finding.kind,
        "wallet_id": finding.wallet_id,
        "asset": finding.asset,
        "transfer_id": finding.transfer_id,
    }
    if finding.action == "rebuilt":
        log.error("projection_rebuilt", **fields)
    else:
        log.error("journal_wrong", action=finding.action, **fields)


def _log_end(run: Reconciliation) -> None:
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
