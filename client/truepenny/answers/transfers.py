"""Transfers as the server shows them, with why they failed and what happened to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from truepenny.answers.decoding import Answer
from truepenny.errors import NotRecorded, OutcomeUnknown, Problem, Refused, refusal

COMMITTED: Final = "committed"
FAILED: Final = frozenset({"rejected", "rolled_back"})


@dataclass(frozen=True, kw_only=True)
class TransferFailure(Answer):
    """Why a transfer did not commit."""

    code: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class TimelineEntry(Answer):
    """An event in a transfer's life."""

    event: str
    at: datetime
    worker: str | None = None
    attempt: int | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class TransferAnswer(Answer):
    """A transfer, as it was when it was read."""

    id: str
    idempotency_key: str | None
    """None for those that another client submitted."""
    source: str
    destination: str
    asset: str
    amount: Decimal
    state: str
    """`buffered`, `accepted`, `reserved`, `deducted`, `credited`, `committed`, `rejected` or
    `rolled_back`; a newer server may have more."""
    capture: str
    expires_at: datetime | None
    reference: str | None
    metadata: Mapping[str, Any] = field(hash=False)
    failure: TransferFailure | None
    refund_of: str | None
    refunded: Decimal
    group: str | None
    created_at: datetime
    updated_at: datetime
    timeline: tuple[TimelineEntry, ...] | None = None
    """Only where one transfer was read by itself."""

    @property
    def is_committed(self) -> bool:
        """Whether the destination has the money."""
        return self.state == COMMITTED

    @property
    def has_failed(self) -> bool:
        """Whether it ended without moving anything; `failure` says why."""
        return self.state in FAILED

    @property
    def has_ended(self) -> bool:
        """Whether it stays as it is. False for a state that this version does not know."""
        return self.is_committed or self.has_failed

    def refusal(self) -> Refused | None:
        """Return the error that a failed transfer is answered with; None for any other."""
        if not self.has_failed:
            return None
        code, detail = self.state, ""
        if self.failure is not None:
            code, detail = self.failure.code, self.failure.detail
        return refusal(Problem(422, code, detail, None, transfer_id=self.id))


@dataclass(frozen=True)
class BatchResult:
    """What became of one transfer of a batch."""

    idempotency_key: str
    transfer_id: str | None
    state: str | None
    """Its state when the batch was answered; None if it was not recorded, or that is unknown."""
    error: Refused | NotRecorded | OutcomeUnknown | None

    @property
    def is_accepted(self) -> bool:
        """Whether it was recorded and not refused. It may still be under way."""
        return self.error is None
