"""Door: what acceptance reads and decides about a request's wallets, without a lock.

Guarantees that a lack of funds is confirmed together with what is still on its way, at one moment.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ARRAY, Connection, Text, Uuid, bindparam, cast, exists, func, or_, select

from ledger.funds.on_the_way import brings_money, gives_back
from ledger.postgres import schema
from ledger.postgres.bulk_rows import array_literal


@dataclass(frozen=True, slots=True)
class Undecided:
    """A new request that is not recorded, because older buffered ones may bring it its money."""


OnLack = Literal["refuse", "record", "leave"]
"""What is done about a request whose source lacks funds. `refuse`: record it as rejected, unless an
earlier transfer may still bring them. `record`: accept it, and let reserve decide. `leave`: do not
record what comes from that source, unless it was recorded before."""


@dataclass(frozen=True, slots=True)
class Prospects:
    """A wallet's money now, and whether an unfinished transfer may still bring more."""

    available_minor: int
    expects_money: bool

    def may_pay(self, amount_minor: int) -> bool:
        """Return whether the wallet has, or may still get, this much."""
        return self.expects_money or self.available_minor >= amount_minor


def read_wallets(connection: Connection, wallet_ids: Collection[UUID]) -> dict[UUID, Any]:
    """Return the rows of those of the wallets that exist, by id."""
    rows = connection.execute(_WALLETS, {"ids": array_literal(wallet_ids)})
    return {row.id: row for row in rows}


def read_prospects(connection: Connection, wallet_ids: Collection[UUID]) -> dict[UUID, Prospects]:
    """Return the prospects of each of these wallets, all as they are at one moment."""
    rows = connection.execute(_PROSPECTS, {"ids": array_literal(wallet_ids)})
    return {row.id: Prospects(int(row.available), row.expects_money) for row in rows}


_w = schema.wallets.c
_available = (_w.balance - _w.reserved - _w.incoming).label("available")
_is_named = _w.id == func.any(cast(bindparam("ids", type_=Text()), ARRAY(Uuid)))
_transit = schema.wallets.alias("transit")
_WALLETS = select(
    _w.id,
    _w.owner_id,
    _w.asset,
    _w.kind,
    _w.status,
    _available,
    exists()
    .where(_transit.c.asset == _w.asset, _transit.c.kind == "transit")
    .correlate(schema.wallets)
    .label("has_transit"),
).where(_is_named)
_expects_money = or_(exists().where(brings_money(_w.id)), exists().where(gives_back(_w.id)))
_PROSPECTS = select(_w.id, _available, _expects_money.label("expects_money")).where(_is_named)
