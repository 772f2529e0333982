"""Reconciliation status: the last run of the consistency scan, and the number of findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from ledger.reconciliation import runs
from ledger.reconciliation.runs import Reconciliation
from monitoring.job_runs import JobNote

ACTIONS: Final = ("rebuilt", "frozen", "alarmed")


@dataclass(frozen=True, slots=True)
class ReconciliationStatus:
    """The last run of the consistency scan, and all findings of all runs.

    progress: of the last run, from 0 to 1; 1 when it has ended.
    findings: how many, by kind and by action.
    """

    note: JobNote
    progress: float
    findings: Mapping[tuple[str, str], int]


def read_reconciliation_status(connection: Connection) -> ReconciliationStatus | None:
    """Read the status; None before the first run."""
    run = runs.latest(connection)
    if run is None:
        return None
    now = connection.execute(select(func.clock_timestamp())).scalar_one()
    age_s = (now - (run.finished_at or run.started_at)).total_seconds()
    ok = run.state != "failed" and not run.findings_count and not run.standing_count
    note = JobNote(ok=ok, result=_result(run), age_s=max(age_s, 0.0))
    progress = run.progress if run.state == "running" else 1.0
    return ReconciliationStatus(note, progress, runs.count_findings(connection))


def _result(run: Reconciliation) -> str:
    checked = f"{run.wallets_checked} wallets and {run.assets_checked} assets checked"
    found = f"{run.findings_count} new discrepancies, {run.standing_count} from earlier runs remain"
    if run.state == "failed":
        return f"failed: {checked}, {found}"
    so_far = f"under way, {run.progress:.0%} done: " if run.state == "running" else ""
    is_right = not run.findings_count and not run.standing_count
    return f"{so_far}{checked}, {'no discrepancy' if is_right else found}"
