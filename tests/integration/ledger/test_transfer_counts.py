"""Transfer counts: exact while steps run, and cheap to read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from ledger import transfer_counts
from ledger.buffer.entries import Buffered
from ledger.buffer.rejected import record_rejections
from ledger.errors import WalletNotFound
from ledger.ids import new_id
from ledger.postgres.database import autocommit, transaction
from ledger.transfer_counts import count_transfers, extend_kept_counts
from testing.bank import Bank
from testing.concurrent_transactions import second_waits_for_first
from testing.servers.databases import as_owner, owner_engine

AT_ONCE = timedelta(0)


def standing(bank: Bank) -> transfer_counts.TransferCounts:
    with autocommit(bank.engine) as connection:
        return count_transfers(connection)


def carry_on(bank: Bank, settle_after: timedelta = AT_ONCE) -> int:
    with transaction(bank.engine) as connection:
        return extend_kept_counts(connection, settle_after=settle_after)


def some_of_each(bank: Bank) -> None:
    """Make one transfer in each state, a rejected one, and two committed."""
    source, destination = bank.wallet(100), bank.wallet()
    bank.accept(bank.request(source, destination, 1))
    bank.settle()
    poor = bank.request(bank.wallet(), destination, 1)
    bank.answers(poor)
    bank.settle()
    with transaction(bank.engine) as connection:
        unknown = Buffered(bank.request(new_id(), destination, 1), datetime.now(UTC))
        record_rejections(connection, [(unknown, WalletNotFound())])
    for state in ("credited", "deducted", "reserved", "accepted"):
        bank.reach(state, bank.request(source, destination, 1))


EACH = {
    "accepted": 1,
    "reserved": 1,
    "deducted": 1,
    "credited": 1,
    "committed": 2,  # the other one funded the wallet
    "rejected": 2,
    "rolled_back": 0,
}


def test_every_state_is_counted_before_and_after_an_update_of_the_counts(bank: Bank) -> None:
    some_of_each(bank)
    assert standing(bank).states == EACH
    assert standing(bank).settled_last_minute == 4
    assert carry_on(bank) == 4
    assert carry_on(bank) == 0
    assert standing(bank).states == EACH
    assert standing(bank).settled_last_minute == 4
    bank.settle()
    assert standing(bank).states["committed"] > EACH["committed"]


def test_recently_ended_transfers_are_left_for_the_next_update(bank: Bank) -> None:
    some_of_each(bank)
    assert carry_on(bank, timedelta(hours=1)) == 0
    assert standing(bank).states == EACH


def test_the_oldest_is_the_one_that_was_accepted_first(bank: Bank) -> None:
    assert standing(bank).oldest_unfinished is None
    source, destination = bank.wallet(100), bank.wallet()
    assert standing(bank).oldest_unfinished is None
    bank.reach("deducted", bank.request(source, destination, 1, key="first"))
    bank.accept(bank.request(source, destination, 1, key="second"))
    oldest = standing(bank).oldest_unfinished
    assert oldest is not None
    assert oldest.state == "deducted"
    assert bank.transfer(oldest.id).state == "deducted"
    assert 0 <= oldest.age_s < 60


@contextmanager
def ended_but_not_committed(bank: Bank) -> Iterator[Connection]:
    """Run a step that has set the end time of a transfer but has not committed."""
    source, destination = bank.wallet(100), bank.wallet()
    bank.reach("credited", bank.request(source, destination, 1))
    with transaction(bank.engine) as connection:
        connection.execute(
            text("""
                WITH ended AS (DELETE FROM unfinished RETURNING transfer_id, reserved_at)
                INSERT INTO outcomes (transfer_id, state, reserved_at, deducted_at, credited_at,
                                      finished_at)
                SELECT transfer_id, 'committed', reserved_at, reserved_at, reserved_at,
                       clock_timestamp() FROM ended""")
        )
        yield connection


def test_a_transfer_with_an_uncommitted_end_is_never_skipped(bank: Bank) -> None:
    with ended_but_not_committed(bank):
        before = standing(bank).states["committed"]
        carry_on(bank)
        assert standing(bank).states["committed"] == before
    assert standing(bank).states["committed"] == before + 1
    carry_on(bank)
    assert standing(bank).states["committed"] == before + 1


def test_two_updates_at_once_count_nothing_twice(bank: Bank) -> None:
    some_of_each(bank)

    def carry_on_at_once(connection: Connection) -> int:
        return extend_kept_counts(connection, settle_after=AT_ONCE)

    first, second = second_waits_for_first(bank.engine, carry_on_at_once, carry_on_at_once)
    assert first + second == 4
    assert standing(bank).states == EACH


def test_a_long_history_is_not_read_again(bank: Bank) -> None:
    with as_owner(bank.engine) as connection:
        connection.execute(text("ALTER TABLE outcomes DISABLE TRIGGER USER"))
        connection.execute(
            text("""
                INSERT INTO outcomes (transfer_id, state, reserved_at, deducted_at, credited_at,
                                      finished_at)
                SELECT gen_random_uuid(), 'committed', now(), now(), now(),
                       now() - interval '2 days' + make_interval(secs => number)
                FROM generate_series(1, 100000) AS number""")
        )
    with owner_engine(bank.engine) as owner, autocommit(owner) as connection:
        connection.execute(text("VACUUM ANALYZE outcomes"))
    assert carry_on(bank) == 0  # the migration has counted what was older
    some_of_each(bank)
    with autocommit(bank.engine) as connection:
        explained = "EXPLAIN (ANALYZE, FORMAT json) " + transfer_counts._SINCE.text
        up_to = datetime.now(UTC) - timedelta(minutes=2)
        given = {"up_to": up_to, "window": transfer_counts.WINDOW}
        plan = connection.execute(text(explained), given).scalar_one()
    assert ("Bitmap Index Scan", "outcomes_by_end") in list(nodes(plan[0]["Plan"]))
    assert ("Seq Scan", "outcomes") not in list(nodes(plan[0]["Plan"]))


def nodes(plan: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Return for each node of a plan its type, and its index or table."""
    yield plan["Node Type"], plan.get("Index Name", plan.get("Relation Name"))
    for below in plan.get("Plans", ()):
        yield from nodes(below)
