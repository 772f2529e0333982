"""Models that check the bodies and query strings of requests; unknown fields are errors."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.fields import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Amount,
    AssetCode,
    Cursor,
    ExternalId,
    Id,
    IdempotencyKey,
    Limit,
    Metadata,
    Name,
    NewAssetCode,
    RateLimitText,
    Reference,
    Scale,
    Time,
)
from ledger.clients import Scope
from ledger.keys.credentials import KeyScope
from ledger.states import State
from ledger.transfers import Capture
from ledger.wallets import WalletKind, WalletStatus

MAX_BATCH_LENGTH = 5_000


class Body(BaseModel):
    """A JSON object with exactly these fields."""

    model_config = ConfigDict(strict=True, extra="forbid")


class NewClient(Body):
    """A client to be made."""

    name: Name
    scope: Annotated[Scope, Field(description="What it may do; admin may do everything.")] = (
        "client"
    )
    rate_limit: Annotated[
        RateLimitText | None,
        Field(description="Its limit of writes; `CLIENT_RATE_LIMIT` of the settings by default."),
    ] = None
    item_limit: Annotated[
        RateLimitText | None,
        Field(
            description="Its limit of transfers that are newly stored, where each item of a batch "
            "counts; `CLIENT_ITEM_LIMIT` of the settings by default."
        ),
    ] = None


class NewKey(Body):
    """A key to be made."""

    name: Annotated[Name | None, Field(description="Your name for it.")] = None
    scope: Annotated[KeyScope, Field(description="What it may do; read changes nothing.")] = "write"
    expires_at: Annotated[
        Time | None, Field(description="When it stops to work; null or left out: it does not.")
    ] = None


class NewAsset(Body):
    """A kind of money to be made."""

    code: NewAssetCode
    scale: Scale


class NewWallet(Body):
    """A wallet to be made."""

    asset: AssetCode
    name: Name | None = None
    external_id: ExternalId | None = None
    kind: Annotated[
        Literal["customer", "house", "external"],
        Field(description="Kinds other than customer need the scope admin."),
    ] = "customer"
    owner: Annotated[
        Id | None,
        Field(
            description="The client it belongs to; you by default. Another one needs the scope "
            "admin."
        ),
    ] = None
    metadata: Metadata | None = None


class WalletChange(Body):
    """What describes a wallet. A field that is left out stays as it is."""

    name: Annotated[Name | None, Field(description="null takes the name away.")] = None
    metadata: Annotated[
        Metadata | None, Field(description="Replaces the metadata as a whole; null empties it.")
    ] = None


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
    """Transfers to be submitted in one request. Each succeeds or fails by itself."""

    atomic: Annotated[bool, Field(description="true is not available yet.")] = False
    # The items are checked one by one: an error is the result of its item, not of all.
    transfers: Annotated[list[Any], Field(min_length=1, max_length=MAX_BATCH_LENGTH)]


class Nothing(Body):
    """An empty object; the same as no body."""


class Query(BaseModel):
    """Exactly these parameters, each at most once but for those that are lists."""

    model_config = ConfigDict(strict=True, extra="forbid")
    repeatable: ClassVar[frozenset[str]] = frozenset()


class NoQuery(Query):
    """No parameters."""


class PageQuery(Query):
    """A page of a list."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Annotated[
        Cursor | None,
        Field(description="The `next_cursor` of the previous page, with the filters of that page."),
    ] = None


class WalletQuery(PageQuery):
    """A page of wallets, with filters."""

    asset: Annotated[AssetCode | None, Field(description="Only wallets in this asset.")] = None
    status: Annotated[WalletStatus | None, Field(description="Only wallets with this status.")] = (
        None
    )
    kind: Annotated[WalletKind | None, Field(description="Only wallets of this kind.")] = None
    external_id: Annotated[
        ExternalId | None, Field(description="Only the wallet with this id of yours.")
    ] = None


WALLET_FILTERS = frozenset(WalletQuery.model_fields) - frozenset(PageQuery.model_fields)


class TransferQuery(PageQuery):
    """A page of transfers, with filters."""

    wallet: Annotated[Id | None, Field(description="Only transfers from this wallet or to it.")] = (
        None
    )
    state: Annotated[State | None, Field(description="Only transfers in this state.")] = None
    idempotency_key: Annotated[
        IdempotencyKey | None, Field(description="Only the transfer that you gave this key.")
    ] = None
    created_after: Annotated[
        Time | None, Field(description="Only transfers created after this time.")
    ] = None
    created_before: Annotated[
        Time | None, Field(description="Only transfers created before this time.")
    ] = None
    order: Annotated[
        Literal["recorded"] | None,
        Field(
            description="`recorded`: for pollers. In the order of recording, oldest first; not "
            "with `state`, which changes. `next_cursor` is always given and never expires, and "
            "nothing appears before it any more. Without it: newest first."
        ),
    ] = None


class BalanceQuery(Query):
    """The time of a balance."""

    at: Annotated[Time, Field(description="A time that is not in the future.")]


class BalancesQuery(Query):
    """The wallets of which the balances are wanted."""

    repeatable = frozenset({"wallet"})
    wallet: Annotated[
        list[Id],
        Field(
            min_length=1,
            max_length=MAX_LIMIT,
            description="The id of a wallet; once for each wallet: `?wallet=…&wallet=…`.",
        ),
    ]
