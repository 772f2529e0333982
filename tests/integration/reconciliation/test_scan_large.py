"""Large ledger: the cost of one piece of the scan does not depend on the size of the ledger."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from ledger.ids import new_id
from ledger.postgres.database import autocommit, transaction
from ledger.reconciliation import journal_scan, wallet_scan
from ledger.reconciliation.budget import Budget
from ledger.reconciliation.journal_scan import JournalPosition
from ledger.reconciliation.orphan_scan import TRANSFERS_AT_ONCE, OrphanTable, find_orphans
from testing.bank import Bank
from testing.servers.databases import as_owner

WALLETS, TRANSFERS = 2_000, 20_000
LOAD = (
    """INSERT INTO wallets (id, owner_id, asset, kind, balance, posted_at)
       SELECT md5('wallet' || n)::uuid, :owner, 'USD', 'customer', 100 * :each, now()
       FROM generate_series(0, :wallets - 1) AS n""",
    """CREATE TEMPORARY TABLE made AS
       SELECT n, md5(n::text)::uuid AS id, md5('wallet' || n % :wallets)::uuid AS wallet_id,
              now() - interval '2 days' + n * interval '1 s' AS at
       FROM generate_series(0, :transfers - 1) AS n""",
    """INSERT INTO transfers (id, client_id, idempotency_key, fingerprint, source_id,
                              destination_id, asset, amount, created_at)
       SELECT id, :owner, n, '', :external, wallet_id, 'USD', 100, at FROM made ORDER BY n""",
    """INSERT INTO outcomes (transfer_id, state, reserved_at, deducted_at, credited_at, finished_at)
       SELECT id, 'committed', at, at, at, at FROM made ORDER BY n""",
    """INSERT INTO postings (transfer_id, leg, debit_wallet_id, credit_wallet_id, amount,
                             debit_balance_after, credit_balance_after, created_at)
       SELECT made.id, leg, CASE leg WHEN 'deduct' THEN :external ELSE transit.id END,
              CASE leg WHEN 'deduct' THEN transit.id ELSE wallet_id END, 100,
              CASE leg WHEN 'deduct' THEN -100 * (n + 1) ELSE 0 END,
              CASE leg WHEN 'deduct' THEN 100 ELSE 100 * (n / :wallets + 1) END, at
       FROM made, (VALUES ('deduct', 0), ('credit', 1)) AS legs (leg, place),
            (SELECT id FROM wallets WHERE kind = 'transit' AND asset = 'USD') AS transit
       ORDER BY n, place""",
    "UPDATE wallets SET balance = -100 * :transfers, posted_at = now() WHERE id = :external",
    "ANALYZE",
)
READ = text("""
    SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))
    FROM pg_stat_xact_user_tables
    WHERE relname IN ('transfers', 'outcomes', 'unfinished', 'postings', 'wallets')
""")
"""Return how many rows the statements of this transaction have read so far."""


@pytest.fixture(scope="module")
def large(shared_bank: Bank) -> Bank:
    external = shared_bank.wallet(kind="external", owner=shared_bank.admin)
    given: dict[str, object] = {"owner": shared_bank.admin.id, "external": external.id}
    given |= {"wallets": WALLETS, "transfers": TRANSFERS, "each": TRANSFERS // WALLETS}
    with as_owner(shared_bank.engine) as connection:
        for statement in LOAD:
            names = {name: value for name, value in given.items() if f":{name}" in statement}
            connection.execute(text(statement), names)
    return shared_bank


def test_checking_transfers_reads_only_these_and_their_rows(large: Bank) -> None:
    after: JournalPosition | None = None
    for _ in range(3):
        with reading(large) as connection:
            before = rows_read(connection)
            found = journal_scan.check_next_transfers(
                connection, after, until=datetime.now(UTC), smaller=3
            )
            assert (found.last is not None, found.discrepancies) == (True, [])
            # The transfer, its outcome, three wallets and two postings.
            assert rows_read(connection) - before <= 10 * found.count
        after = found.last


def test_checking_wallets_reads_only_these_and_their_postings(large: Bank) -> None:
    for orphans_since in (datetime.now(UTC), None):
        with reading(large) as connection:
            before = rows_read(connection)
            checks = wallet_scan.check_next_wallets(
                connection,
                None,
                wallets=100,
                run_id=new_id(),
                is_full=True,
                orphans_since=orphans_since,
            )
            assert not any(check.is_projection_wrong for check in checks if check.is_complete)
            # Each posting and its transfer; of the transit wallet only the requested number.
            assert sum(check.lines for check in checks) >= len(checks) * TRANSFERS // WALLETS
            read = rows_read(connection) - before
            assert read <= 3 * sum(check.lines for check in checks) + 10 * len(checks)


def test_the_postings_of_a_wallet_with_very_many_are_read_a_share_at_a_time(large: Bank) -> None:
    with autocommit(large.engine) as connection:
        query = "SELECT id::text FROM wallets WHERE kind = 'transit' AND asset = 'USD'"
        transit = UUID(connection.execute(text(query)).scalar_one())
    with reading(large) as connection:
        before = rows_read(connection)
        [check] = wallet_scan.check_next_wallets(
            connection,
            UUID(int=transit.int - 1),
            wallets=1,
            run_id=new_id(),
            is_full=True,
            orphans_since=None,
            smaller=6,
        )
        assert (check.wallet_id, check.lines) == (transit, wallet_scan.POSTINGS_AT_ONCE >> 6)
        assert rows_read(connection) - before <= 2 * check.lines + 10


@pytest.mark.parametrize("table", ["outcomes", "postings", "unfinished"])
def test_looking_for_orphans_reads_each_row_and_its_transfer(
    large: Bank, table: OrphanTable
) -> None:
    with reading(large) as connection:
        before = rows_read(connection)
        search = find_orphans(connection, table, None, smaller=4)
        assert (search.orphans, search.transfers > 0) == ([], table != "unfinished")
        assert rows_read(connection) - before <= 5 * (TRANSFERS_AT_ONCE >> 4)


def test_a_piece_waits_for_no_lock_and_takes_none_that_a_writer_needs(large: Bank) -> None:
    with transaction(large.engine) as writer:
        writer.execute(text("UPDATE wallets SET name = 'x'"))
        with reading(large) as connection:
            connection.execute(text("SET LOCAL lock_timeout = '100ms'"))
            wallet_scan.check_next_wallets(
                connection, None, wallets=10, run_id=new_id(), is_full=True, orphans_since=None
            )


def reading(bank: Bank) -> AbstractContextManager[Connection]:
    return Budget(60, 60).reading(bank.engine)


def rows_read(connection: Connection) -> int:
    return int(connection.execute(READ).scalar_one())
