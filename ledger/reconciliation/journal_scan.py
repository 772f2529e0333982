"""Journal scan: compares each transfer with its state and its postings.

Guarantees exactness while money moves, as `wallet_scan` does: one statement reads everything
that it compares, so it sees all the changes of a step or none. No lock is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Connection, TextClause, Uuid, bindparam, text

from ledger.movements import MOVEMENTS
from ledger.postgres.columns import TimestampColumn
from ledger.reconciliation.findings import Discrepancy

TRANSFERS_AT_ONCE: Final = 2_000
STATES_AT_ONCE: Final = 10_000

StateTable = Literal["unfinished", "outcomes"]
JournalPosition = tuple[datetime, UUID]
"""(created_at, id) of a transfer."""


@dataclass(frozen=True, slots=True)
class Range:
    """The transfers after one position, up to another, in order of creation."""

    count: int
    last: JournalPosition | None
    """None: there are no more."""


def next_transfers(
    connection: Connection, after: JournalPosition | None, *, until: datetime, smaller: int = 0
) -> Range:
    """Find the next transfers to check: a limited number, created no later than `until`.

    smaller: how often to halve the usual number.
    """
    argument = {**_after(after), "until": until, "most": max(1, TRANSFERS_AT_ONCE >> smaller)}
    row = connection.execute(_RANGE, argument).one()
    return Range(row.found, None if row.id is None else (row.created_at, row.id))


def check_transfers(
    connection: Connection, after: JournalPosition | None, last: JournalPosition
) -> list[Discrepancy]:
    """Return the discrepancies of the transfers after `after`, up to `last`."""
    argument = {**_after(after), "last_at": last[0], "last_id": last[1]}
    return [_discrepancy(row) for row in connection.execute(_IN_RANGE, argument)]


def still_stands(connection: Connection, discrepancy: Discrepancy) -> bool:
    """Check the transfer again. Returns: whether it still has the same discrepancy."""
    rows = connection.execute(_BY_ID, {"id": discrepancy.transfer_id})
    return any(_discrepancy(row).key == discrepancy.key for row in rows)


def find_orphans(
    connection: Connection,
    table: StateTable,
    after: UUID | None,
    *,
    smaller: int = 0,
) -> tuple[UUID | None, list[Discrepancy]]:
    """Find states of transfers that do not exist.

    Returns: the last transfer id that was checked, None when there are no more; the orphans.
    """
    argument = {"after": after or _NO_ID, "most": max(1, STATES_AT_ONCE >> smaller)}
    rows = connection.execute(_ORPHANS[table], argument).all()
    found = [
        Discrepancy(
            kind="state_orphaned",
            transfer_id=row.id,
            leg=table,
            wallet_ids=tuple(map(UUID, row.wallet_ids)),
            detail=f"There is a row in {table}, but no such transfer.",
        )
        for row in rows
        if row.is_orphan
    ]
    return (rows[-1].id if rows else None), found


_NO_ID = UUID(int=0)


def _after(position: JournalPosition | None) -> dict[str, object]:
    return {"after_at": position and position[0], "after_id": position[1] if position else _NO_ID}


def _discrepancy(row: Any) -> Discrepancy:
    kind, detail = _diagnose(row)
    return Discrepancy(
        kind=kind,
        detail=detail,
        transfer_id=row.id,
        asset=row.asset,
        wallet_ids=tuple(sorted({UUID(id) for id in row.wallet_ids if id is not None})),
    )


def _diagnose(row: Any) -> tuple[str, str]:
    """Return the kind and the text of a transfer's discrepancy; the first check that fails."""
    found, expected = _legs(row.found), _legs(row.expected)
    if not (row.is_open or row.is_ended):
        return "transfer_lost", "The transfer is neither unfinished nor ended."
    if row.is_open and row.is_ended:
        return "transfer_doubled", "The transfer is both unfinished and ended."
    if row.disagrees:
        return "transfer_disagrees", (
            "Its row in unfinished, or its wallets, do not agree with the request."
        )
    if missing := [leg for leg in expected if leg not in found]:
        return "leg_missing", f"It is {row.state}, but has no posting for: {', '.join(missing)}."
    if surplus := [leg for leg in found if leg not in expected]:
        return "leg_surplus", f"It is {row.state}, but has postings for: {', '.join(surplus)}."
    if found != expected:
        return "leg_wrong", f"Its postings are in the wrong order: {', '.join(found)}."
    return "leg_wrong", "A posting has another amount or other wallets than the transfer."


def _legs(text: str) -> list[str]:
    return text.split(",") if text else []


def _sides() -> str:
    """Build the SQL condition on the two wallets of each leg, from the table of movements."""
    conditions = []
    for movement, effects in MOVEMENTS.items():
        sides = {effect.balance: f"said.{effect.role}_id" for effect in effects if effect.balance}
        if sides:
            conditions.append(
                f"WHEN '{movement}' THEN posting.debit_wallet_id = {sides[-1]}"
                f" AND posting.credit_wallet_id = {sides[+1]}"
            )
    return f"CASE posting.leg {' '.join(conditions)} ELSE false END"


# Each LATERAL is looked up row by row, in an index. Without it the planner, which knows too little
# about a range of pairs, joined whole tables: a piece then took longer in a larger database.
_CHECK = """
WITH said AS MATERIALIZED (
    SELECT transfers.id, transfers.source_id, transfers.destination_id, transfers.asset,
           transfers.amount, transit.id AS transit_id,
           unfinished.transfer_id IS NOT NULL AS is_open,
           outcomes.transfer_id IS NOT NULL AS is_ended,
           coalesce(outcomes.state, unfinished.state) AS state,
           source.asset IS DISTINCT FROM transfers.asset
               OR destination.asset IS DISTINCT FROM transfers.asset
               OR unfinished.transfer_id IS NOT NULL AND ROW(
                   unfinished.source_id, unfinished.transit_id, unfinished.destination_id,
                   unfinished.amount
               ) IS DISTINCT FROM ROW(
                   transfers.source_id, transit.id, transfers.destination_id, transfers.amount
               ) AS disagrees,
           CASE coalesce(outcomes.state, unfinished.state)
               WHEN 'deducted' THEN 'deduct'
               WHEN 'credited' THEN 'deduct,credit'
               WHEN 'committed' THEN 'deduct,credit'
               WHEN 'rolled_back' THEN CASE
                   WHEN outcomes.credited_at IS NOT NULL THEN 'deduct,credit,uncredit,refund'
                   WHEN outcomes.deducted_at IS NOT NULL THEN 'deduct,refund'
                   ELSE '' END
               ELSE '' END AS expected
    FROM transfers
    LEFT JOIN LATERAL (SELECT id FROM wallets WHERE asset = transfers.asset AND kind = 'transit'
                       LIMIT 1) AS transit ON true
    LEFT JOIN LATERAL (SELECT asset FROM wallets WHERE id = transfers.source_id
                       LIMIT 1) AS source ON true
    LEFT JOIN LATERAL (SELECT asset FROM wallets WHERE id = transfers.destination_id
                       LIMIT 1) AS destination ON true
    LEFT JOIN LATERAL (SELECT * FROM unfinished WHERE transfer_id = transfers.id
                       LIMIT 1) AS unfinished ON true
    LEFT JOIN LATERAL (SELECT * FROM outcomes WHERE transfer_id = transfers.id
                       LIMIT 1) AS outcomes ON true
    WHERE {which}
)
SELECT said.id, said.asset, said.state, said.is_open, said.is_ended, said.disagrees,
       said.expected, coalesce(legs.found, '') AS found,
       CAST(ARRAY[said.source_id, said.destination_id, said.transit_id] || legs.wallet_ids
            AS text[]) AS wallet_ids
FROM said CROSS JOIN LATERAL (
    SELECT string_agg(posting.leg, ',' ORDER BY posting.seq) AS found,
           bool_and(coalesce(posting.amount = said.amount AND {sides}, false)) AS fit,
           array_agg(posting.debit_wallet_id) || array_agg(posting.credit_wallet_id) AS wallet_ids
    FROM postings AS posting WHERE posting.transfer_id = said.id
) AS legs
WHERE said.is_open = said.is_ended OR said.disagrees
   OR coalesce(legs.found, '') <> said.expected OR NOT coalesce(legs.fit, true)
ORDER BY said.id
"""


def _check(which: str, *types: Any) -> TextClause:
    statement = _CHECK.format(which=which, sides=_sides())
    return text(statement).bindparams(*types).columns(id=Uuid())  # type: ignore[return-value]


_BEHIND = (
    "(CAST(:after_at AS timestamptz) IS NULL"
    " OR (transfers.created_at, transfers.id) > (:after_at, :after_id))"
)
_AFTER = (bindparam("after_at", type_=TimestampColumn), bindparam("after_id", type_=Uuid()))
_LAST = (bindparam("last_at", type_=TimestampColumn), bindparam("last_id", type_=Uuid()))
_IN_RANGE = _check(
    f"{_BEHIND} AND (transfers.created_at, transfers.id) <= (:last_at, :last_id)"
    " AND transfers.created_at <= :last_at",
    *_AFTER,
    *_LAST,
)
_BY_ID = _check("transfers.id = :id", bindparam("id", type_=Uuid()))
_RANGE = (
    text(f"""
    WITH next AS (
        SELECT created_at, id FROM transfers WHERE {_BEHIND} AND created_at <= :until
        ORDER BY created_at, id LIMIT :most
    ), last AS (SELECT created_at, id FROM next ORDER BY created_at DESC, id DESC LIMIT 1)
    SELECT (SELECT count(*) FROM next) AS found, last.created_at, last.id
    FROM (SELECT) AS one LEFT JOIN last ON true
""")  # noqa: S608 - built from constants
    .bindparams(*_AFTER, bindparam("until", type_=TimestampColumn))
    .columns(id=Uuid(), created_at=TimestampColumn)
)


def _orphans_of(table: str, wallet_ids: str) -> TextClause:
    query = f"""
        SELECT transfer_id AS id, CAST({wallet_ids} AS text[]) AS wallet_ids,
               (SELECT true FROM transfers WHERE transfers.id = transfer_id) IS NULL AS is_orphan
        FROM {table} WHERE transfer_id > :after ORDER BY transfer_id LIMIT :most
    """  # noqa: S608 - built from constants
    return text(query).bindparams(bindparam("after", type_=Uuid())).columns(id=Uuid())  # type: ignore[return-value]


_ORPHANS: dict[StateTable, TextClause] = {
    "unfinished": _orphans_of("unfinished", "ARRAY[source_id, transit_id, destination_id]"),
    "outcomes": _orphans_of("outcomes", "ARRAY[]::uuid[]"),
}
