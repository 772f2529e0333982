"""Wallets: creating and reading them, their statements, and freezing and closing them.

Guarantees that a client sees only its own wallets: every read takes the caller, and raises
NotFound for a wallet of another client. Only `ledger.steps` changes balances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import (
    Connection,
    Select,
    case,
    exists,
    func,
    literal,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from ledger.clients import Client
from ledger.errors import Forbidden, Invalid, InvalidField, InvalidState, NotFound
from ledger.ids import new_id
from ledger.postgres import schema
from ledger.postgres.running_steps import wait_for_postings

WalletKind = Literal["customer", "house", "external", "transit"]
WalletStatus = Literal["active", "frozen", "closed"]
Leg = Literal["deduct", "credit", "uncredit", "refund"]
"""The movement that a posting belongs to."""


@dataclass(frozen=True, slots=True)
class Wallet:
    """A wallet in its present state. balance, reserved, incoming and available: minor units."""

    id: UUID
    owner_id: UUID | None
    asset: str
    scale: int
    kind: WalletKind
    name: str | None
    external_id: str | None
    status: WalletStatus
    balance: int
    reserved: int
    incoming: int
    metadata: dict[str, Any]
    created_at: datetime

    @property
    def available(self) -> int:
        return self.balance - self.reserved - self.incoming


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One posting as its wallet sees it: positive for money in, negative for money out."""

    transfer_id: UUID
    leg: Leg
    amount_minor: int
    balance_after_minor: int
    counterparty_id: UUID
    created_at: datetime
    seq: int


def create_wallet(  # noqa: PLR0913 - one for each field of the new row
    connection: Connection,
    *,
    caller: Client,
    asset: str,
    name: str | None,
    kind: WalletKind,
    owner_id: UUID | None,
    metadata: dict[str, Any],
    external_id: str | None = None,
    wallet_id: UUID | None = None,
) -> Wallet:
    """Create an empty wallet.

    owner_id: None for the caller itself. wallet_id: None for a new one.
    Raises: Forbidden: when a client that is no admin asks for another owner or kind.
    InvalidField: when the asset or the owner does not exist, or the kind is transit.
    InvalidState: when another wallet of the owner has the external id.
    """
    if not caller.is_admin and (kind != "customer" or owner_id not in (None, caller.id)):
        raise Forbidden
    if kind == "transit":
        raise InvalidField("/kind", "a transit wallet is created with its asset, not by a request")
    if not connection.scalar(select(exists().where(schema.assets.c.code == asset))):
        raise InvalidField("/asset", "there is no such asset")
    owner_id = owner_id or caller.id
    if not connection.scalar(select(exists().where(schema.clients.c.id == owner_id))):
        raise InvalidField("/owner", "there is no such client")
    values = {"owner_id": owner_id, "asset": asset, "kind": kind, "name": name}
    values |= {"id": wallet_id or new_id(), "metadata": metadata, "external_id": external_id}
    table = schema.wallets
    # Of two at once with one external id, the second waits here until the first has ended.
    insertion = (
        insert(table)
        .values(values)
        .on_conflict_do_nothing(
            index_elements=[table.c.external_id, table.c.owner_id],
            index_where=table.c.external_id.is_not(None),
        )
    )
    created_id = connection.scalar(insertion.returning(table.c.id))
    if created_id is None:
        raise InvalidState("Another wallet of this owner has this external_id.")
    return get_wallet(connection, created_id, caller=caller)


def get_wallet(connection: Connection, wallet_id: UUID, *, caller: Client) -> Wallet:
    """Return a wallet. Raises: NotFound: when there is none, or the caller may not see it."""
    row = connection.execute(_visible(caller).where(schema.wallets.c.id == wallet_id)).one_or_none()
    if row is None:
        raise NotFound
    return _wallet(row)


def get_wallets(connection: Connection, ids: Sequence[UUID], *, caller: Client) -> list[Wallet]:
    """Return wallets as they are at one moment, in the order of the ids.

    Raises: NotFound: when there is none with one of the ids, or the caller may not see it.
    """
    query = _visible(caller).where(schema.wallets.c.id == func.any(list(ids)))
    found = {row.id: _wallet(row) for row in connection.execute(query)}
    if not found.keys() >= set(ids):
        raise NotFound
    return [found[id] for id in ids]


def list_wallets(
    connection: Connection,
    *,
    caller: Client,
    limit: int,
    after: tuple[datetime, UUID] | None,
    narrow: Mapping[str, str] | None = None,
) -> list[Wallet]:
    """Return the caller's wallets (for an admin: all), oldest first.

    after: (created_at, id) of the last wallet of the previous page.
    narrow: the values that columns of the wallet must have.
    """
    table = schema.wallets
    wanted = (table.c[name] == value for name, value in (narrow or {}).items())
    query = _visible(caller).where(*wanted)
    query = query.order_by(table.c.created_at, table.c.id).limit(limit)
    if after is not None:
        query = query.where(tuple_(table.c.created_at, table.c.id) > tuple_(*map(literal, after)))
    return [_wallet(row) for row in connection.execute(query)]


def statement(
    connection: Connection,
    wallet_id: UUID,
    *,
    caller: Client,
    limit: int,
    before: tuple[datetime, int] | None,
) -> tuple[Wallet, list[StatementLine]]:
    """Return the wallet, and its postings, newest first.

    before: (created_at, seq) of the last posting of the previous page.
    Raises: NotFound: when there is no such wallet, or the caller may not see it.
    """
    wallet = get_wallet(connection, wallet_id, caller=caller)
    return wallet, _lines(connection, wallet_id, limit=limit, before=before, until=None)


def balance_at(
    connection: Connection, wallet_id: UUID, at: datetime, *, caller: Client
) -> tuple[Wallet, int]:
    """Return the wallet, and its balance in minor units after its last posting up to `at`.

    It locks nothing and writes nothing. The connection must not be in a transaction that keeps
    one snapshot (REPEATABLE READ).
    Raises: NotFound: when there is no such wallet, or the caller may not see it.
    Invalid: when `at` is later than both now, by the database's clock, and the wallet's
    last posting. Unavailable: when a transfer of the wallet takes unusually long.
    """
    query = _visible(caller).add_columns(func.clock_timestamp().label("now"))
    row = connection.execute(query.where(schema.wallets.c.id == wallet_id)).one_or_none()
    if row is None:
        raise NotFound
    if at > max(row.now, row.posted_at):
        raise Invalid("at is in the future.")
    # Later postings get later times than `now`. These have their times already:
    wait_for_postings(connection, wallet_id)
    wallet = _wallet(row)
    lines = _lines(connection, wallet_id, limit=1, before=None, until=at)
    return wallet, lines[0].balance_after_minor if lines else 0


def freeze(connection: Connection, wallet_id: UUID) -> Wallet:
    """Stop new reserves from the wallet, and money from arriving in it.

    Transfers that are reserved already go on: their money was promised. A transfer to the
    wallet that has not committed is rolled back. Harmless when frozen already.
    Raises: NotFound · InvalidState: when the wallet is closed.
    """
    return _change_status(connection, wallet_id, "frozen")


def unfreeze(connection: Connection, wallet_id: UUID) -> Wallet:
    """Undo `freeze`. Harmless when active. Raises: NotFound · InvalidState: when closed."""
    return _change_status(connection, wallet_id, "active")


def close(connection: Connection, wallet_id: UUID) -> Wallet:
    """Close an empty wallet for good. Harmless when closed.

    Raises: NotFound · InvalidState: when there is money in it, or on its way out of it, since
    a rollback would have to bring that back; and for a transit wallet, always.
    """
    wallet = _lock(connection, wallet_id)
    _refuse_transit(wallet)
    if wallet.status == "closed":
        return wallet
    if wallet.balance or wallet.reserved or wallet.incoming:
        raise InvalidState("The wallet is not empty.")
    # The lock on the wallet keeps any further reserve from getting past its status.
    table = schema.unfinished.c
    leaving = select(exists().where(table.source_id == wallet_id, table.state != "accepted"))
    if connection.scalar(leaving):
        raise InvalidState("A transfer from the wallet is not finished yet.")
    return _set_status(connection, wallet_id, "closed")


def _change_status(connection: Connection, wallet_id: UUID, status: WalletStatus) -> Wallet:
    wallet = _lock(connection, wallet_id)
    _refuse_transit(wallet)
    if wallet.status == "closed":
        raise InvalidState("The wallet is closed.")
    return wallet if wallet.status == status else _set_status(connection, wallet_id, status)


def _refuse_transit(wallet: Wallet) -> None:
    # Every transfer of its asset passes through it, so it must stay active even when empty.
    if wallet.kind == "transit":
        raise InvalidState("A transit wallet cannot be frozen or closed.")


def _lock(connection: Connection, wallet_id: UUID) -> Wallet:
    query = _wallets().where(schema.wallets.c.id == wallet_id)
    row = connection.execute(query.with_for_update(key_share=True, of=schema.wallets)).one_or_none()
    if row is None:
        raise NotFound
    return _wallet(row)


def _set_status(connection: Connection, wallet_id: UUID, status: WalletStatus) -> Wallet:
    table = schema.wallets
    connection.execute(update(table).where(table.c.id == wallet_id).values(status=status))
    return _wallet(connection.execute(_wallets().where(table.c.id == wallet_id)).one())


def _lines(
    connection: Connection,
    wallet_id: UUID,
    *,
    limit: int,
    before: tuple[datetime, int] | None,
    until: datetime | None,
) -> list[StatementLine]:
    table, transfers = schema.postings, schema.transfers
    # Debits and credits have an index each: read the newest of both, then merge.
    sides = []
    for own, other, sign, balance in (
        (table.c.debit_wallet_id, table.c.credit_wallet_id, -1, table.c.debit_balance_after),
        (table.c.credit_wallet_id, table.c.debit_wallet_id, 1, table.c.credit_balance_after),
    ):
        # The other end of the transfer, not the transit wallet between.
        counterparty = case(
            (own == transfers.c.source_id, transfers.c.destination_id),
            (own == transfers.c.destination_id, transfers.c.source_id),
            else_=other,  # of the transit wallet itself
        )
        side = select(
            table.c.transfer_id,
            table.c.leg,
            (table.c.amount * sign).label("amount"),
            balance.label("balance_after"),
            counterparty.label("counterparty_id"),
            table.c.created_at,
            table.c.seq,
        ).join(transfers, transfers.c.id == table.c.transfer_id)
        side = side.where(own == wallet_id)
        if before is not None:
            seen = tuple_(*map(literal, before))
            side = side.where(tuple_(table.c.created_at, table.c.seq) < seen)
        if until is not None:
            side = side.where(table.c.created_at <= until)
        side = side.order_by(table.c.created_at.desc(), table.c.seq.desc()).limit(limit)
        sides.append(side.subquery().select())
    both = union_all(*sides).subquery()
    query = select(both).order_by(both.c.created_at.desc(), both.c.seq.desc()).limit(limit)
    return [
        StatementLine(
            row.transfer_id,
            row.leg,
            int(row.amount),
            int(row.balance_after),
            row.counterparty_id,
            row.created_at,
            row.seq,
        )
        for row in connection.execute(query)
    ]


def _wallets() -> Select[Any]:
    table = schema.wallets
    joined = table.join(schema.assets, schema.assets.c.code == table.c.asset)
    return select(table, schema.assets.c.scale).select_from(joined)


def _visible(caller: Client) -> Select[Any]:
    query = _wallets()
    return query if caller.is_admin else query.where(schema.wallets.c.owner_id == caller.id)


def _wallet(row: Any) -> Wallet:
    return Wallet(
        id=row.id,
        owner_id=row.owner_id,
        asset=row.asset,
        scale=row.scale,
        kind=cast(WalletKind, row.kind),
        name=row.name,
        external_id=row.external_id,
        status=cast(WalletStatus, row.status),
        balance=int(row.balance),
        reserved=int(row.reserved),
        incoming=int(row.incoming),
        metadata=row.metadata,
        created_at=row.created_at,
    )
