"""Answers about transfers, their timelines and batch requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.codes import EventName, FailureCode
from api.schemas.fields import AmountText, IdText, TimeText, id_text, time_text
from api.schemas.problems import ProblemDocument
from ledger.buffer.entries import Buffered
from ledger.clients import Client
from ledger.money import format_amount
from ledger.states import State
from ledger.transfers import Capture, TimelineEntry, Transfer

ShownState = Annotated[
    State | Literal["buffered"],
    Field(description="buffered: kept on the broker until the database is back."),
]


class FailureAnswer(TypedDict):
    """Why a transfer did not commit."""

    code: FailureCode
    detail: str


class TransferAnswer(TypedDict):
    """A transfer."""

    id: IdText
    idempotency_key: Annotated[
        str | None, Field(description="Null to all but the client that submitted it.")
    ]
    source: IdText
    destination: IdText
    asset: str
    amount: AmountText
    state: ShownState
    capture: Capture
    expires_at: TimeText | None
    reference: str | None
    metadata: dict[str, Any]
    failure: FailureAnswer | None
    refund_of: IdText | None
    refunded: AmountText
    group: IdText | None
    created_at: TimeText
    updated_at: TimeText


def transfer_answer(transfer: Transfer, *, reader: Client) -> TransferAnswer:
    """Describe a transfer to a client, without its timeline."""
    failure, expires_at = transfer.failure, transfer.expires_at
    return {
        "id": str(transfer.id),
        "idempotency_key": transfer.idempotency_key if transfer.client_id == reader.id else None,
        "source": str(transfer.source_id),
        "destination": str(transfer.destination_id),
        "asset": transfer.asset,
        "amount": format_amount(transfer.amount_minor, scale=transfer.scale),
        "state": transfer.state,
        "capture": transfer.capture,
        "expires_at": None if expires_at is None else time_text(expires_at),
        "reference": transfer.reference,
        "metadata": transfer.metadata,
        "failure": None if failure is None else {"code": failure.code, "detail": failure.detail},
        "refund_of": id_text(transfer.refund_of),
        "refunded": format_amount(transfer.refunded_minor, scale=transfer.scale),
        "group": id_text(transfer.group_id),
        "created_at": time_text(transfer.created_at),
        "updated_at": time_text(transfer.updated_at),
    }


def buffered_answer(buffered: Buffered, *, reader: Client) -> TransferAnswer:
    """Describe a buffered request to a client, in the shape of the transfer that it will become."""
    request, at = buffered.request, time_text(buffered.at)
    return {
        "id": str(buffered.id),
        "idempotency_key": request.idempotency_key if request.client.id == reader.id else None,
        "source": str(request.source_id),
        "destination": str(request.destination_id),
        "asset": request.asset,
        "amount": format_amount(request.amount_minor, scale=request.scale),
        "state": "buffered",
        "capture": "auto",
        "expires_at": None,
        "reference": request.reference,
        "metadata": request.metadata or {},
        "failure": None,
        "refund_of": None,
        "refunded": format_amount(0, scale=request.scale),
        "group": None,
        "created_at": at,
        "updated_at": at,
    }


class TimelineAnswer(TypedDict):
    """An event in a transfer's timeline. Fields without a value are left out."""

    event: EventName
    at: TimeText
    worker: NotRequired[str]
    attempt: NotRequired[int]
    detail: NotRequired[str]


class TransferDetail(TransferAnswer):
    """A transfer with its timeline."""

    timeline: list[TimelineAnswer]


def transfer_detail(
    transfer: Transfer, entries: Iterable[TimelineEntry], *, reader: Client
) -> TransferDetail:
    """Describe a transfer with its timeline to a client."""
    return {
        **transfer_answer(transfer, reader=reader),
        "timeline": [_timeline_answer(each) for each in entries],
    }


def buffered_detail(buffered: Buffered, *, reader: Client) -> TransferDetail:
    """Describe a buffered request with its timeline to a client."""
    entry = TimelineEntry("buffered", buffered.at)
    return {**buffered_answer(buffered, reader=reader), "timeline": [_timeline_answer(entry)]}


def _timeline_answer(entry: TimelineEntry) -> TimelineAnswer:
    answer: TimelineAnswer = {"event": entry.event, "at": time_text(entry.at)}
    if entry.worker is not None:
        answer["worker"] = entry.worker
    if entry.attempt is not None:
        answer["attempt"] = entry.attempt
    if entry.detail is not None:
        answer["detail"] = entry.detail
    return answer


class TransferList(TypedDict):
    """A page of transfers, newest first."""

    data: list[TransferAnswer]
    next_cursor: str | None


class Submitted(TypedDict):
    """A transfer of a batch request that was recorded or buffered, now or before."""

    id: IdText
    state: ShownState


class Failed(TypedDict):
    """A transfer of a batch request that is invalid, was rejected or could not be recorded."""

    error: ProblemDocument


class BatchAnswer(TypedDict):
    """The result of each transfer, in the order of the request."""

    results: list[Submitted | Failed]
