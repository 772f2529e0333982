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
    """Something that was wrong, and what was done about it."""

    kind: Annotated[str, Field(description="Stable; what a program should look at.")]
    wallet: IdText | None
    asset: str | None
    transfer: IdText | None
    detail: Annotated[str, Field(description="For people; its wording may change.")]
    action: Annotated[
        Action,
        Field(
            description="rebuilt: the wallet was written anew from its postings and holds. "
            "frozen: so were the customers' wallets concerned. alarmed: a human has to look."
        ),
    ]
    before: Annotated[dict[str, Any] | None, Field(description="What the action has changed.")]
    after: Annotated[dict[str, Any] | None, Field(description="What it has changed it to.")]
    at: TimeText


def _finding_answer(finding: Finding) -> FindingAnswer:
    return {
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


class ReconciliationAnswer(TypedDict):
    """A run of the consistency scan."""

    id: IdText
    trigger: Trigger
    state: RunState
    started_at: TimeText
    finished_at: TimeText | None
    wallets_checked: int
    assets_checked: int
    findings_count: Annotated[int, Field(description="What this run was the first to find.")]
    standing_count: Annotated[
        int, Field(description="What earlier runs found, and still stood at the end of this one.")
    ]


def reconciliation_answer(run: Reconciliation) -> ReconciliationAnswer:
    """Describe a run, without what it found."""
    return {
        "id": str(run.id),
        "trigger": run.trigger,
        "state": run.state,
        "started_at": time_text(run.started_at),
        "finished_at": None if run.finished_at is None else time_text(run.finished_at),
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
    """A run with what it found."""

    findings: Annotated[
        list[FindingAnswer], Field(description=f"In order; at most {SHOWN_FINDINGS:,}.")
    ]


def reconciliation_detail(run: Reconciliation, found: Sequence[Finding]) -> ReconciliationDetail:
    """Describe a run with what it found."""
    return {**reconciliation_answer(run), "findings": [_finding_answer(each) for each in found]}
