"""Money on its way: the transfers whose end may change what a wallet has available.

Read only for wallets that lack funds, so a transfer that its source can pay costs no statement.
`brings_money` says what counts.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Subquery,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    func,
    literal,
    select,
    true,
    union_all,
)

from ledger.postgres import schema
from ledger.postgres.bulk_rows import array_literal

READ_LIMIT = 100
"""The most transfers that are read of each kind for a wallet; the next judgement reads on."""
AHEAD_LIMIT = 20_000
"""The most transfers ahead that are added up, to see whether a wallet can pay for all of them."""


@dataclass(frozen=True, slots=True)
class InLine:
    """An unfinished transfer that has its place in the order of acceptance."""

    seq: int
    transfer_id: UUID
    amount_minor: int
    waits_for: UUID | None = None


@dataclass(slots=True)
class Line:
    """The unfinished transfers that concern one source, by `seq`, at most READ_LIMIT of each kind.

    They are read before any of them is judged.
    """

    ahead: list[InLine] = field(default_factory=list)
    """Those that will ask it for money, and that no batch has reserved."""
    bringing: list[InLine] = field(default_factory=list)
    """Those that bring it money, or give back what a failed transfer took."""


def read_lines(connection: Connection, source_ids: Collection[UUID]) -> dict[UUID, Line]:
    """Return the line of each of these sources. Their wallets must be locked."""
    lines = {source_id: Line() for source_id in source_ids}
    if lines:
        for row in connection.execute(_LINES, {"ids": array_literal(lines)}):
            line = lines[row.wallet_id]
            which = line.ahead if row.kind == "ahead" else line.bringing
            which.append(InLine(row.seq, row.transfer_id, int(row.amount), row.waits_for))
    return lines


def count_ahead(asked: Subquery) -> FromClause:
    """Build how many transfers, and for how much, are ahead of those `asked` for.

    asked: a row for each source, with `source_id` and the `last` of their places. At most
    AHEAD_LIMIT are counted for each.
    """
    ahead = select(_u.amount).where(_ahead(asked.c.source_id), _u.seq < asked.c.last)
    # Correlated by hand: SQLAlchemy would look through one level only, and count for all sources.
    found = ahead.limit(AHEAD_LIMIT).correlate(asked).lateral()
    total = func.coalesce(func.sum(found.c.amount), 0).label("total")
    return select(func.count().label("count"), total).select_from(found).lateral()


def brings_money(wallet_id: ColumnElement[UUID]) -> ColumnElement[bool]:
    """Return whether a row of `unfinished` brings money to the wallet, unless it fails.

    The one place to say that a hold, which waits for its capture, does not count.
    """
    return and_(_u.destination_id == wallet_id, _u.failure_code.is_(None))


def gives_back(wallet_id: ColumnElement[UUID]) -> ColumnElement[bool]:
    """Return whether a row of `unfinished` has failed, and will give its wallet its money back."""
    return and_(
        _u.source_id == wallet_id, _u.failure_code.is_not(None), _u.reserved_at.is_not(None)
    )


_u = schema.unfinished.c
_IDS = func.any(cast(bindparam("ids", type_=Text()), ARRAY(Uuid)))


def _ahead(source_id: ColumnElement[UUID]) -> ColumnElement[bool]:
    # Not `state`: an index over it would make every step rewrite its entry.
    return and_(_u.source_id == source_id, _u.reserved_at.is_(None), _u.failure_code.is_(None))


def _build_lines() -> Select[Any]:
    wallet = schema.wallets.c

    def first(kind: str, condition: ColumnElement[bool]) -> Select[Any]:
        found = (
            select(_u.seq, _u.transfer_id, _u.amount, _u.waits_for)
            .where(condition)
            .order_by(_u.seq)
            .limit(READ_LIMIT)
            .lateral()
        )
        return (
            select(wallet.id.label("wallet_id"), literal(kind).label("kind"), found)
            .select_from(schema.wallets.join(found, true()))
            .where(wallet.id == _IDS)
        )

    kinds = union_all(
        first("ahead", _ahead(wallet.id)),
        first("bringing", brings_money(wallet.id)),
        first("bringing", gives_back(wallet.id)),
    ).subquery()
    return select(kinds).order_by(kinds.c.seq)


_LINES = _build_lines()
