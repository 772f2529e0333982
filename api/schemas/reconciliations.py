"""Answers about reconciliations: the runs of the consistency scan and their findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.fields import IdText, TimeText, id_text, time_text
from ledger.reconciliation.findings import Action, Finding
from ledger.reconciliation.runs import SHOWN_FINDINGS, Reconciliation, RunState, Trigger


class FindingAnswer(TypedDict):
    """A discrepancy, and what was done about it."""

    kind: Annotated[str, Field(description="Stable. Programs should rely on this field.")]
    wallet: IdText | None
    asset: str | None
    transfer: IdText | None
    detail: Annotated[str, Field(description="For people. Its wording may change.")]
    action: Annotated[
        Action,
        Field(
            description="rebuilt: the wallet was computed again from its postings and holds. "
            "frozen: the customer wallets concerned were frozen. alarmed: a person has to look."
        ),
    ]
    before: Annotated[
        dict[str, Any] | None, Field(description="The values before the action changed them.")
    ]
    after: Annotated[
        dict[str, Any] | None, Field(description="The values after the action changed them.")
    ]
    at: TimeText


class ReconciliationAnswer(TypedDict):
    """A run of the consistency scan."""

    id: IdText
    trigger: Trigger
    state: RunState
    started_at: TimeText
    finished_at: TimeText | None
    progress: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="The part that is done, an estimate. It begins again at 0 when the run has "
            "to read everything once more. 1: finished.",
        ),
    ]
    transfers_checked: int
    wallets_checked: int
    assets_checked: int
    findings_count: Annotated[int, Field(description="Discrepancies that are new in this run.")]
    standing_count: Annotated[
        int, Field(description="Discrepancies of earlier runs that are still there after this one.")
    ]


def reconciliation_answer(run: Reconciliation) -> ReconciliationAnswer:
    """Describe a run without its findings."""
    return {
        "id": str(run.id),
        "trigger": run.trigger,
        "state": run.state,
        "started_at": time_text(run.started_at),
        "finished_at": None if run.finished_at is None else time_text(run.finished_at),
        "progress": round(run.progress, 3),
        "transfers_checked": run.transfers_checked,
        "wallets_checked": run.wallets_checked,
        "assets_checked": run.assets_checked,
        "findings_count": run.findings_count,
        "standing_count": run.standing_count,
    }


class ReconciliationList(TypedDict):
    """A page of runs, newest first."""

    data: list[ReconciliationAnswer]
    next_cursor: str | None


class ReconciliationDetail(ReconciliationAnswer):
    """A run with its findings."""

    findings: Annotated[
        list[FindingAnswer], Field(description=f"In order, at most {SHOWN_FINDINGS:,}.")
    ]


def reconciliation_detail(run: Reconciliation, found: Sequence[Finding]) -> ReconciliationDetail:
    """Describe a run with its findings."""
    findings: list[FindingAnswer] = [
        {
            "kind": finding.kind,
            "wallet": id_text(finding.wallet_id),
            "asset": finding.asset,
            "transfer": id_text(finding.transfer_id),
            "detail": finding.detail,
            "action": finding.action,
            "before": finding.before,
            "after": finding.after,
            "at": time_text(finding.at),
        }
        for finding in found
    ]
    return {**reconciliation_answer(run), "findings": findings}
