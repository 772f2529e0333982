"""Large ledger: the cost of one piece of the scan does not depend on the size of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, text

from ledger.ids import new_id
from ledger.postgres.database import transaction
from ledger.reconciliation import journal_scan, wallet_scan
from ledger.reconciliation.journal_scan import JournalPosition
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
        with transaction(large.engine) as connection:
            until = datetime.now(UTC)
            found = journal_scan.next_transfers(connection, after, until=until)
            assert found.last is not None
            before = rows_read(connection)
            assert journal_scan.check_transfers(connection, after, found.last) == []
            # The transfer, its outcome, three wallets and two postings.
            assert rows_read(connection) - before <= 10 * found.count
        after = found.last


def test_checking_wallets_reads_only_these_and_their_postings(large: Bank) -> None:
    with transaction(large.engine) as connection:
        before = rows_read(connection)
        looks = wallet_scan.check_next_wallets(
            connection, None, alone=False, run_id=new_id(), is_full=True
        )
        assert not any(look.is_projection_wrong for look in looks if look.is_complete)
        # Each posting and its transfer; of the transit wallet only the requested number.
        postings = len(looks) * TRANSFERS // WALLETS + 4 * wallet_scan.POSTINGS_OF_EACH
        assert rows_read(connection) - before <= 4 * postings


def test_looking_for_orphans_reads_each_state_and_its_transfer(large: Bank) -> None:
    with transaction(large.engine) as connection:
        before = rows_read(connection)
        assert journal_scan.find_orphans(connection, "outcomes", None, smaller=3)[1] == []
        assert rows_read(connection) - before <= 3 * (journal_scan.STATES_AT_ONCE >> 3)


def rows_read(connection: Connection) -> int:
    return int(connection.execute(READ).scalar_one())
