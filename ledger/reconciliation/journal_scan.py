"""Journal scan: compares each transfer with its state and its postings.

Guarantees exactness while money moves, as `wallet_scan` does: one statement reads everything
that it compares, so it sees all the changes of a step or none. No lock is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, TextClause, Uuid, bindparam, text

from ledger.movements import MOVEMENTS
from ledger.postgres.bulk_rows import array_literal
from ledger.postgres.columns import TimestampColumn
from ledger.reconciliation.findings import Discrepancy

TRANSFERS_AT_ONCE: Final = 10_000

JournalPosition = tuple[datetime, UUID]
"""(created_at, id) of a transfer."""


@dataclass(frozen=True, slots=True)
class TransferChecks:
    """The result of checking the transfers after one position, in order of creation."""

    count: int
    last: JournalPosition | None
    """The position of the last of them; None: there are no more."""
    discrepancies: Sequence[Discrepancy] = ()


def check_next_transfers(
    connection: Connection, after: JournalPosition | None, *, until: datetime, smaller: int = 0
) -> TransferChecks:
    """Check a limited number of transfers, created no later than `until`.

    One statement sorts out those that have ended as almost all do, and whose rows all fit. The
    others are checked one by one.
    smaller: how often to halve the usual number.
    """
    position = {"after_at": after and after[0], "after_id": after[1] if after else UUID(int=0)}
    most = max(1, TRANSFERS_AT_ONCE >> smaller)
    row = connection.execute(_NEXT, {**position, "until": until, "most": most}).one()
    if row.id is None:
        return TransferChecks(0, None)
    rows = connection.execute(_THESE, {"ids": array_literal(row.others)}) if row.others else ()
    return TransferChecks(row.found, (row.created_at, row.id), list(map(_discrepancy, rows)))


def still_stands(connection: Connection, discrepancy: Discrepancy) -> bool:
    """Check the transfer again. Returns: whether it still has the same discrepancy."""
    rows = connection.execute(_BY_ID, {"id": discrepancy.transfer_id})
    return any(_discrepancy(row).key == discrepancy.key for row in rows)


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


_BY_ID = _check("transfers.id = :id", bindparam("id", type_=Uuid()))
_THESE = _check("transfers.id = ANY (CAST(:ids AS uuid[]))")

# The limit tells the planner how few transfers are looked up.
_NEXT = (
    text(f"""
    WITH next AS MATERIALIZED (
        SELECT id, source_id, destination_id, asset, amount, created_at FROM transfers
        WHERE (CAST(:after_at AS timestamptz) IS NULL
               OR created_at >= :after_at AND (created_at, id) > (:after_at, :after_id))
          AND created_at <= :until
        ORDER BY created_at, id LIMIT :most
    ), said AS (
        SELECT next.*, transit.id AS transit_id FROM next
        LEFT JOIN wallets AS transit ON transit.asset = next.asset AND transit.kind = 'transit'
    ), last AS (SELECT created_at, id FROM next ORDER BY created_at DESC, id DESC LIMIT 1)
    SELECT (SELECT count(*) FROM next) AS found, last.created_at, last.id,
           (SELECT array_agg(CAST(said.id AS text)) FROM said
            LEFT JOIN wallets AS source ON source.id = said.source_id
            LEFT JOIN wallets AS destination ON destination.id = said.destination_id
            LEFT JOIN unfinished ON unfinished.transfer_id = said.id
            LEFT JOIN outcomes ON outcomes.transfer_id = said.id
            CROSS JOIN LATERAL (
                SELECT count(*) AS legs, bool_and(amount = said.amount AND {_sides()}) AS fit,
                       max(seq) FILTER (WHERE leg = 'deduct')
                           < max(seq) FILTER (WHERE leg = 'credit') AS in_order
                FROM postings AS posting WHERE posting.transfer_id = said.id
            ) AS posted
            WHERE NOT coalesce(
                unfinished.transfer_id IS NULL
                AND source.asset = said.asset AND destination.asset = said.asset
                AND CASE outcomes.state
                    WHEN 'committed' THEN legs = 2 AND fit AND in_order
                    WHEN 'rejected' THEN legs = 0
                    ELSE false END, false)) AS others
    FROM (SELECT) AS one LEFT JOIN last ON true
""")  # noqa: S608 - built from constants
    .bindparams(
        bindparam("after_at", type_=TimestampColumn),
        bindparam("after_id", type_=Uuid()),
        bindparam("until", type_=TimestampColumn),
    )
    .columns(id=Uuid(), created_at=TimestampColumn)
)
