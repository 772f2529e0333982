"""Operations on reconciliations."""

from __future__ import annotations

from typing import Final

from api.openapi.examples import ALICE
from api.openapi.operations import Operation, Success
from api.schemas.reconciliations import (
    FindingAnswer,
    ReconciliationAnswer,
    ReconciliationDetail,
    ReconciliationList,
)
from api.schemas.requests import PageQuery

_RUNNING: Final[ReconciliationAnswer] = {
    "id": "0199a3d0-4c11-7b62-8d0f-5e9a7c3b1f20",
    "trigger": "operator",
    "state": "running",
    "started_at": "2026-01-31T12:05:00.000000Z",
    "finished_at": None,
    "progress": 0.0,
    "transfers_checked": 0,
    "wallets_checked": 0,
    "assets_checked": 0,
    "findings_count": 0,
    "standing_count": 0,
}
_FINISHED: Final[ReconciliationAnswer] = {
    **_RUNNING,
    "state": "finished",
    "finished_at": "2026-01-31T12:05:01.250000Z",
    "progress": 1.0,
    "transfers_checked": 48_210,
    "wallets_checked": 1_024,
    "assets_checked": 6,
    "findings_count": 1,
}
_FINDING: Final[FindingAnswer] = {
    "kind": "projection_wrong",
    "wallet": ALICE,
    "asset": None,
    "transfer": None,
    "detail": "Balance did not follow from the journal.",
    "action": "rebuilt",
    "before": {"balance": "110.00"},
    "after": {"balance": "100.00"},
    "at": "2026-01-31T12:05:00.800000Z",
}

_PAGE: Final[ReconciliationList] = {"data": [_FINISHED], "next_cursor": None}
_DETAIL: Final[ReconciliationDetail] = {**_FINISHED, "findings": [_FINDING]}

RECONCILIATIONS: Final = (
    Operation(
        method="post",
        path="/v1/reconciliations",
        tag="reconciliations",
        summary="Start a run of the consistency scan (admin)",
        description="Compares every wallet with its postings and the transfers under way, and "
        "every transfer with its postings, while money moves. Runs also start on a schedule; "
        "there is at most one at a time.",
        takes_no_body=True,
        answers={
            200: Success(
                description="The run that was under way already.",
                schema=ReconciliationAnswer,
                example={**_RUNNING, "trigger": "schedule"},
                headers=("Location",),
            ),
            202: Success(
                description="A new run, which continues in the background.",
                schema=ReconciliationAnswer,
                example=_RUNNING,
                headers=("Location",),
            ),
        },
        problems=("forbidden",),
    ),
    Operation(
        method="get",
        path="/v1/reconciliations",
        tag="reconciliations",
        summary="List runs of the consistency scan, newest first (admin)",
        query=PageQuery,
        answers={
            200: Success(
                description="A page.",
                schema=ReconciliationList,
                example=_PAGE,
            )
        },
        problems=("forbidden",),
    ),
    Operation(
        method="get",
        path="/v1/reconciliations/{reconciliation_id}",
        tag="reconciliations",
        summary="Show a run with its findings (admin)",
        answers={
            200: Success(
                description="The run.",
                schema=ReconciliationDetail,
                example=_DETAIL,
            )
        },
        problems=("forbidden", "not_found"),
    ),
)
