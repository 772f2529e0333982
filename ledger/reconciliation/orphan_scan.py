"""Orphan scan: finds states and postings of transfers that do not exist.

Guarantees that a piece costs the same in a ledger of any size: it compares the same range of ids
in the primary keys of both tables. No lock is taken. A transfer is there before its state and its
postings, in the same transaction or an earlier one, so nothing is reported that is under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Connection, TextClause, Uuid, bindparam, text

from ledger.reconciliation.findings import Discrepancy

TRANSFERS_AT_ONCE: Final = 50_000
ORPHANS_AT_ONCE: Final = 2_000
"""A piece with so many ends at the last of them."""

StateTable = Literal["unfinished", "outcomes"]
OrphanTable = Literal[StateTable, "postings"]


@dataclass(frozen=True, slots=True)
class OrphanSearch:
    """The result of a search in a range of transfer ids."""

    transfers: int
    """The number of transfers in the range."""
    last: UUID | None
    """The last id of the range; None: there are no more."""
    orphans: Sequence[Discrepancy]


def find_orphans(
    connection: Connection, table: OrphanTable, after: UUID | None, *, smaller: int = 0
) -> OrphanSearch:
    """Search the table's rows for a limited number of transfers, which follow `after` in id order.

    smaller: how often to halve the usual number.
    """
    first = _LOWEST if after is None else UUID(int=min(after.int + 1, _HIGHEST.int))
    piece = {"first": first, "most": max(1, TRANSFERS_AT_ONCE >> smaller)}
    end = connection.execute(_END[table], piece).one()
    bounds = {"first": first, "last": end.last or _HIGHEST, "most": ORPHANS_AT_ONCE}
    rows = connection.execute(_ORPHANS[table], bounds).all()
    last = end.last
    if len(rows) == ORPHANS_AT_ONCE:  # the next piece begins with the last id: it may have more
        last = UUID(int=rows[-1].id.int - 1)
    return OrphanSearch(end.found, last, [each for row in rows for each in _reported(table, row)])


def _reported(table: OrphanTable, row: Any) -> Sequence[Discrepancy]:
    wallet_ids = tuple(map(UUID, row.wallet_ids))
    if table == "postings":
        return [posting_orphaned(wallet_id, row.id, row.leg) for wallet_id in wallet_ids]
    detail = f"There is a row in {table}, but no such transfer."
    return [
        Discrepancy(
            kind="state_orphaned",
            transfer_id=row.id,
            leg=table,
            wallet_ids=wallet_ids,
            detail=detail,
        )
    ]


def posting_orphaned(wallet_id: UUID, transfer_id: UUID, leg: str) -> Discrepancy:
    """Return the discrepancy of one of the two wallets of a posting without a transfer."""
    return Discrepancy(
        kind="posting_orphaned",
        wallet_id=wallet_id,
        transfer_id=transfer_id,
        leg=leg,
        wallet_ids=(wallet_id,),
        detail=f"There is a posting ({leg}), but no such transfer.",
    )


_LOWEST, _HIGHEST = UUID(int=0), UUID(int=(1 << 128) - 1)

_FIRST = bindparam("first", type_=Uuid())


def _end_of(table: str, id: str) -> TextClause:
    query = f"""
        SELECT count(*) AS found, max(CAST(id AS text)) FILTER (WHERE place = :most) AS last
        FROM (SELECT {id} AS id, row_number() OVER (ORDER BY {id}) AS place
              FROM {table} WHERE {id} >= :first ORDER BY {id} LIMIT :most) AS next
    """  # noqa: S608 - built from constants
    typed = text(query).bindparams(_FIRST)
    return typed.columns(last=Uuid())  # type: ignore[return-value]


_OF_TRANSFERS = _end_of("transfers", "id")
_END: dict[OrphanTable, TextClause] = {
    "unfinished": _end_of("unfinished", "transfer_id"),  # it is much smaller
    "outcomes": _OF_TRANSFERS,
    "postings": _OF_TRANSFERS,
}


def _orphans_of(table: OrphanTable, wallet_ids: str, leg: str = "''") -> TextClause:
    # The range is given for both tables: the planner does not conclude one from the other.
    query = f"""
        SELECT transfer_id AS id, {leg} AS leg, CAST({wallet_ids} AS text[]) AS wallet_ids
        FROM {table} WHERE transfer_id >= :first AND transfer_id <= :last AND NOT EXISTS (
            SELECT FROM transfers
            WHERE id = {table}.transfer_id AND id >= :first AND id <= :last)
        ORDER BY transfer_id, leg LIMIT :most
    """  # noqa: S608 - built from constants
    typed = text(query).bindparams(_FIRST, bindparam("last", type_=Uuid()))
    return typed.columns(id=Uuid())  # type: ignore[return-value]


_ORPHANS: dict[OrphanTable, TextClause] = {
    "unfinished": _orphans_of("unfinished", "ARRAY[source_id, transit_id, destination_id]"),
    "outcomes": _orphans_of("outcomes", "ARRAY[]::uuid[]"),
    "postings": _orphans_of("postings", "ARRAY[debit_wallet_id, credit_wallet_id]", "leg"),
}
