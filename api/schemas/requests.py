"""Models that check the bodies and query strings of requests; unknown fields are errors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.fields import (
    DEFAULT_LIMIT,
    Amount,
    AssetCode,
    Cursor,
    Id,
    IdempotencyKey,
    Limit,
    Metadata,
    Name,
    RateLimit,
    Reference,
    Time,
)
from ledger.clients import Scope
from ledger.states import State
from ledger.transfers import Capture

MAX_BATCH_LENGTH = 5_000


class Body(BaseModel):
    """A JSON object with exactly these fields."""

    model_config = ConfigDict(strict=True, extra="forbid")


class NewClient(Body):
    """A caller to be let in."""

    name: Name
    scope: Annotated[Scope, Field(description="What it may do; admin may do all.")] = "client"
    rate_limit: Annotated[
        RateLimit | None, Field(description="Its own limit; null for the default.")
    ] = None


class NewWallet(Body):
    """A wallet to be made."""

    asset: AssetCode
    name: Name | None = None
    kind: Annotated[
        Literal["customer", "house", "external"],
        Field(description="Other than customer needs the scope admin."),
    ] = "customer"
    owner: Annotated[
        Id | None, Field(description="The client it belongs to; another needs the scope admin.")
    ] = None
    metadata: Metadata | None = None


class NewTransfer(Body):
    """Money to be moved from one wallet to another."""

    source: Id
    destination: Id
    amount: Amount
    asset: AssetCode
    capture: Annotated[Capture, Field(description="manual is not available yet.")] = "auto"
    expires_in_s: Annotated[int | None, Field(description="Not available yet.")] = None
    reference: Reference | None = None
    metadata: Metadata | None = None


class NewBatchItem(NewTransfer):
    """A transfer within a batch, with its own key."""

    idempotency_key: IdempotencyKey


class NewBatch(Body):
    """Transfers to be submitted in one go. Each stands or falls by itself."""

    atomic: Annotated[bool, Field(description="true is not available yet.")] = False
    # Items are checked one by one: a wrong one is its own result, not the batch's.
    transfers: Annotated[list[Any], Field(min_length=1, max_length=MAX_BATCH_LENGTH)]


class Nothing(Body):
    """An empty object, which stands for an empty body too."""


class Query(BaseModel):
    """Exactly these parameters, each at most once."""

    model_config = ConfigDict(strict=True, extra="forbid")


class NoQuery(Query):
    """No parameters."""


class PageQuery(Query):
    """Which part of a list."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


class TransferQuery(PageQuery):
    """Which part of which transfers."""

    wallet: Annotated[Id | None, Field(description="Only what leaves or reaches it.")] = None
    state: Annotated[State | None, Field(description="Only those in this state.")] = None
    created_after: Annotated[Time | None, Field(description="Only later ones.")] = None
    created_before: Annotated[Time | None, Field(description="Only earlier ones.")] = None


class BalanceQuery(Query):
    """At which time."""

    at: Annotated[Time, Field(description="The time, not in the future.")]
