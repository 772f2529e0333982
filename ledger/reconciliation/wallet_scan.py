"""Wallet scan: compares wallets with their postings and with the unfinished transfers.

Guarantees exactness while money moves: everything that is compared is read by one statement,
so on one snapshot of the database, which has all the changes of a step or none. No lock is
taken. The postings of a wallet are read in order, a limited number at a time, starting where
the last reading ended (`read_positions`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, Connection, TextClause, Uuid, bindparam, text

from ledger.postgres.bulk_rows import Columns, rows_argument
from ledger.postgres.columns import MinorUnits, TimestampColumn
from ledger.reconciliation.wallet_check import Break, WalletCheck

POSTINGS_AT_ONCE: Final = 50_000
"""The most that are read for a piece, in equal shares for its wallets. The fewer postings the
wallets have, the more of them make a piece."""
POSTINGS_UNDER_LOCK: Final = 20_000
MOST_WALLETS: Final = 1_000
USUAL_WALLETS: Final = 100


def check_next_wallets(
    connection: Connection,
    after: UUID | None,
    *,
    wallets: int,
    run_id: UUID,
    is_full: bool,
    orphans_since: datetime | None,
    smaller: int = 0,
) -> list[WalletCheck]:
    """Check the wallets that follow `after` in id order, and read their next postings.

    wallets: the number of wallets.
    orphans_since: look for the transfers of postings from then on; None: of each posting.
    smaller: how often to halve the usual amount of work.
    """
    return _check(
        connection,
        _NEXT,
        after=after or _BEFORE_ALL,
        wallets=max(1, wallets >> smaller),
        postings=max(1, (POSTINGS_AT_ONCE // wallets) >> smaller),
        run_id=run_id,
        is_full=is_full,
        orphans_since=orphans_since or "-infinity",
    )


def check_wallet(
    connection: Connection, wallet_id: UUID, *, run_id: UUID, is_full: bool
) -> WalletCheck | None:
    """Check one wallet, and read its next postings. None: there is no such wallet."""
    checks = _check(
        connection,
        _ONE,
        wallet=wallet_id,
        postings=POSTINGS_UNDER_LOCK,
        run_id=run_id,
        is_full=is_full,
        orphans_since="infinity",
    )
    return checks[0] if checks else None


def save_positions(
    connection: Connection, checks: list[WalletCheck], *, run_id: UUID, is_full: bool
) -> None:
    """Save how far the postings of these wallets were read."""
    rows = [
        (check.wallet_id, check.last_posted_at.isoformat(), check.seq, check.booked, check.stamped)
        for check in checks
        if check.last_posted_at is not None and check.seq is not None
    ]
    if rows:
        argument = {"run_id": run_id if is_full else None}
        connection.execute(_SAVE, rows_argument(_POSITION, rows) | argument)


def assets_not_zero(connection: Connection) -> tuple[int, list[tuple[str, int, int]]]:
    """Add up the balances of each asset's wallets, and count its transit wallets.

    Returns: the number of assets, and (asset, sum in minor units, transit wallets) of each asset
    whose sum is not zero, or that does not have exactly one transit wallet.
    """
    rows = connection.execute(_SUMS).all()
    wrong = [row for row in rows if row.total or row.transits != 1]
    return len(rows), [(row.code, int(row.total), row.transits) for row in wrong]


_BEFORE_ALL = UUID(int=0)


def _check(connection: Connection, statement: TextClause, **argument: object) -> list[WalletCheck]:
    rows: Any = connection.execute(statement, argument)
    return [
        WalletCheck(
            wallet_id=row.id,
            asset=row.asset,
            scale=row.scale,
            kind=row.kind,
            lines=row.lines,
            is_complete=row.lines != argument["postings"],
            balance=int(row.balance),
            booked=int(row.booked),
            stamped=int(row.stamped),
            reserved=int(row.reserved),
            held=int(row.held),
            incoming=int(row.incoming),
            coming=int(row.coming),
            between=int(row.between),
            created_at=row.created_at,
            posted_at=row.posted_at,
            last_posted_at=row.last_posted_at,
            seq=row.last_seq,
            breaks=tuple(
                Break(UUID(each[0]), each[1], int(each[2]), int(each[3]))
                for each in row.breaks or ()
            ),
            orphans=tuple((UUID(each[0]), each[1]) for each in row.orphans or ()),
            is_read_part_changed=row.is_read_part_changed,
        )
        for row in rows
    ]


# This follows from `ledger.movements.MOVEMENTS`: a `reserved` transfer holds money in its source,
# a `deducted` one has it in transit, and for a `credited` one it is incoming in its destination.
_CHECK = """
WITH chunk AS MATERIALIZED (
    SELECT wallet.*, assets.scale,
           coalesce(read.posted_at, '-infinity') AS read_at,
           coalesce(read.seq, 0) AS read_seq,
           coalesce(read.balance, 0) AS read_balance,
           coalesce(read.stamped, 0) AS read_stamped,
           known.posted_at AS known_at, known.seq AS known_seq, known.balance AS known_balance
    FROM (SELECT * FROM wallets WHERE {which}) AS wallet
    JOIN assets ON assets.code = wallet.asset
    LEFT JOIN read_positions AS known ON known.wallet_id = wallet.id
    LEFT JOIN read_positions AS read
        ON read.wallet_id = wallet.id AND (NOT :is_full OR read.full_run_id = :run_id)
), held AS (
    SELECT source_id AS wallet_id, sum(amount) AS amount FROM unfinished
    WHERE state = 'reserved' AND source_id IN (SELECT id FROM chunk) GROUP BY source_id
), coming AS (
    SELECT destination_id AS wallet_id, sum(amount) AS amount FROM unfinished
    WHERE state = 'credited' AND destination_id IN (SELECT id FROM chunk) GROUP BY destination_id
), between_wallets AS (
    SELECT transit_id AS wallet_id, sum(amount) AS amount FROM unfinished
    WHERE state = 'deducted' AND transit_id IN (SELECT id FROM chunk) GROUP BY transit_id
)
SELECT chunk.id, chunk.asset, chunk.scale, chunk.kind, chunk.posted_at,
       chunk.balance, chunk.reserved, chunk.incoming,
       read.lines, coalesce(read.booked, chunk.read_balance) AS booked,
       coalesce(read.stamped, chunk.read_stamped) AS stamped,
       coalesce(read.last_posted_at, nullif(chunk.read_at, '-infinity')) AS last_posted_at,
       read.last_seq, read.breaks, read.orphans, chunk.created_at,
       coalesce(read.has_another_sum, false) OR chunk.known_seq IS NOT NULL AND NOT EXISTS (
           SELECT FROM postings WHERE debit_wallet_id = chunk.id
               AND created_at = chunk.known_at AND seq = chunk.known_seq
       ) AND NOT EXISTS (
           SELECT FROM postings WHERE credit_wallet_id = chunk.id
               AND created_at = chunk.known_at AND seq = chunk.known_seq
       ) AS is_read_part_changed,
       coalesce(held.amount, 0) AS held, coalesce(coming.amount, 0) AS coming,
       coalesce(between_wallets.amount, 0) AS between
FROM chunk
-- Each wallet's postings come from the indexes in their order, so nothing is sorted.
CROSS JOIN LATERAL (
    SELECT count(*) AS lines,
           max(total) FILTER (WHERE is_last) AS booked,
           max(after) FILTER (WHERE is_last) AS stamped,
           max(created_at) FILTER (WHERE is_last) AS last_posted_at,
           max(seq) FILTER (WHERE is_last) AS last_seq,
           jsonb_agg(jsonb_build_array(transfer_id, leg, after::text, expected::text))
               FILTER (WHERE after NOT IN (expected, total) OR seq <= seq_before) AS breaks,
           jsonb_agg(jsonb_build_array(transfer_id, leg)) FILTER (WHERE is_orphan) AS orphans,
           bool_or(seq = chunk.known_seq AND total <> chunk.known_balance) AS has_another_sum
    FROM (
        SELECT line.*,
               coalesce(lag(after) OVER in_order, chunk.read_stamped) + change AS expected,
               chunk.read_balance + sum(change) OVER in_order AS total,
               coalesce(lag(seq) OVER in_order, chunk.read_seq) AS seq_before,
               lead(seq) OVER in_order IS NULL AS is_last,
               -- Not EXISTS, for which all transfers may be read into a table of hashes.
               created_at >= CAST(:orphans_since AS timestamptz)
               AND (SELECT true FROM transfers WHERE id = transfer_id) IS NULL AS is_orphan
        FROM (
            (SELECT created_at, seq, transfer_id, leg, -amount AS change,
                    debit_balance_after AS after
             FROM postings WHERE debit_wallet_id = chunk.id
                             AND (created_at, seq) > (chunk.read_at, chunk.read_seq)
             ORDER BY created_at, seq LIMIT :postings)
            UNION ALL
            (SELECT created_at, seq, transfer_id, leg, amount, credit_balance_after
             FROM postings WHERE credit_wallet_id = chunk.id
                             AND (created_at, seq) > (chunk.read_at, chunk.read_seq)
             ORDER BY created_at, seq LIMIT :postings)
            ORDER BY created_at, seq LIMIT :postings
        ) AS line WINDOW in_order AS (ORDER BY created_at, seq ROWS UNBOUNDED PRECEDING)
    ) AS placed
) AS read
LEFT JOIN held ON held.wallet_id = chunk.id
LEFT JOIN coming ON coming.wallet_id = chunk.id
LEFT JOIN between_wallets ON between_wallets.wallet_id = chunk.id
ORDER BY chunk.id
"""


def _statement(which: str, *names: str) -> TextClause:
    ids = [bindparam(name, type_=Uuid()) for name in ("run_id", *names)]
    typed = text(_CHECK.format(which=which)).bindparams(*ids)
    times = dict.fromkeys(("created_at", "posted_at", "last_posted_at"), TimestampColumn)
    return typed.columns(id=Uuid(), **times)  # type: ignore[return-value]


_NEXT = _statement("id > :after ORDER BY id LIMIT :wallets", "after")
_ONE = _statement("id = :wallet", "wallet")

_POSITION: Columns = {
    "wallet_id": Uuid(),
    "posted_at": TimestampColumn,
    "seq": BigInteger(),
    "balance": MinorUnits,
    "stamped": MinorUnits,
}
_SAVE = text("""
    INSERT INTO read_positions (wallet_id, full_run_id, posted_at, seq, balance, stamped)
    SELECT wallet_id, :run_id, posted_at, seq, balance, stamped
    FROM unnest(CAST(:wallet_id_array AS uuid[]), CAST(:posted_at_array AS timestamptz[]),
                CAST(:seq_array AS bigint[]), CAST(:balance_array AS numeric[]),
                CAST(:stamped_array AS numeric[]))
         AS given (wallet_id, posted_at, seq, balance, stamped)
    ON CONFLICT (wallet_id) DO UPDATE
    SET posted_at = excluded.posted_at, seq = excluded.seq,
        balance = excluded.balance, stamped = excluded.stamped,
        -- A run that does not read all keeps the id of the full run.
        full_run_id = coalesce(excluded.full_run_id, read_positions.full_run_id)
""").bindparams(bindparam("run_id", type_=Uuid()))

_SUMS = text("""
    SELECT assets.code, coalesce(sum(wallets.balance), 0) AS total,
           count(*) FILTER (WHERE wallets.kind = 'transit') AS transits
    FROM assets LEFT JOIN wallets ON wallets.asset = assets.code GROUP BY assets.code
""")
