"""What runs of the consistency scan look like in answers, and the same as documentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from api.answer_models import AnswerModel, IdText, TimeText
from api.answers import Json, time_text
from ledger.findings import Finding
from ledger.reconciliations import SHOWN_FINDINGS, Reconciliation


def reconciliation_json(run: Reconciliation) -> Json:
    """Describe a run, without what it found."""
    return {
        "id": str(run.id),
        "trigger": run.trigger,
        "state": run.state,
        "started_at": time_text(run.started_at),
        "finished_at": run.finished_at and time_text(run.finished_at),
        "wallets_checked": run.wallets_checked,
        "assets_checked": run.assets_checked,
        "findings_count": run.findings_count,
        "standing_count": run.standing_count,
    }


def reconciliation_detail_json(run: Reconciliation, found: Sequence[Finding]) -> Json:
    """Describe a run with what it found."""
    return reconciliation_json(run) | {"findings": [_finding_json(each) for each in found]}


def _finding_json(finding: Finding) -> Json:
    return {
        "kind": finding.kind,
        "wallet": finding.wallet_id and str(finding.wallet_id),
        "asset": finding.asset,
        "transfer": finding.transfer_id and str(finding.transfer_id),
        "detail": finding.detail,
        "action": finding.action,
        "before": finding.before,
        "after": finding.after,
        "at": time_text(finding.at),
    }


class FindingAnswer(AnswerModel):
    """Something that was wrong, and what was done about it."""

    kind: Annotated[str, Field(description="Stable; what a program should look at.")]
    wallet: IdText | None
    asset: str | None
    transfer: IdText | None
    detail: Annotated[str, Field(description="For people; its wording may change.")]
    action: Annotated[
        Literal["rebuilt", "frozen", "alarmed"],
        Field(
            description="rebuilt: the wallet was written anew from its postings and holds. "
            "frozen: so were the customers' wallets concerned. alarmed: a human has to look."
        ),
    ]
    before: Annotated[dict[str, Any] | None, Field(description="What the action has changed.")]
    after: Annotated[dict[str, Any] | None, Field(description="What it has changed it to.")]
    at: TimeText


class ReconciliationAnswer(AnswerModel):
    """A run of the consistency scan."""

    id: IdText
    trigger: Literal["schedule", "operator"]
    state: Literal["running", "finished", "failed"]
    started_at: TimeText
    finished_at: TimeText | None
    wallets_checked: int
    assets_checked: int
    findings_count: Annotated[int, Field(description="What this run was the first to find.")]
    standing_count: Annotated[
        int, Field(description="What earlier runs found, and still stood at the end of this one.")
    ]


class ReconciliationList(AnswerModel):
    """A page of runs, newest first."""

    data: list[ReconciliationAnswer]
    next_cursor: str | None


class ReconciliationDetail(ReconciliationAnswer):
    """A run with what it found."""

    findings: Annotated[
        list[FindingAnswer], Field(description=f"In order; at most {SHOWN_FINDINGS:,}.")
    ]
