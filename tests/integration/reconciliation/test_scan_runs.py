"""Runs of the consistency scan: while money moves, when they die, two at once, one after one."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from ledger import wallets
from ledger.errors import Misconfigured, NotFound, Unavailable
from ledger.ids import new_id
from ledger.postgres.database import transaction, try_lock
from ledger.reconciliation import runs
from ledger.reconciliation import scan as scan_module
from ledger.reconciliation.findings import MAX_FINDINGS, Finding
from ledger.reconciliation.wallet_scan import POSTINGS_OF_EACH
from ledger.steps import run_step
from testing.bank import Bank
from testing.batch_driver import Driver
from testing.books import Books
from testing.races import PATIENCE_S, both_at_once, wait_until_blocked
from testing.servers.shared import ROOT

RAISE = "UPDATE wallets SET balance = balance + 1000 WHERE id = :source"
RESTAMP = """UPDATE postings SET credit_balance_after = credit_balance_after {} 1
             WHERE transfer_id = :settled AND leg = 'credit'"""
ALMOST_FULL = "UPDATE reconciliations SET findings_count = {}"
LOSE = "DELETE FROM outcomes WHERE transfer_id = :settled"


@contextmanager
def moving_money(books: Books) -> Iterator[threading.Event]:
    """Transfers of all kinds under way without pause, and a wallet that freezes and thaws."""
    stop, moved = threading.Event(), threading.Event()
    bank = books.bank
    pool = [bank.wallet(1_000_00) for _ in range(5)]

    def move(seed: int) -> None:
        choice = random.Random(seed)  # noqa: S311 - which wallets pay whom is no secret
        driver = Driver(bank.engine)
        while not stop.is_set():
            pairs = [choice.sample(pool, 2) for _ in range(20)]
            amount = choice.randint(1, 300_00)
            bank.accept(*(bank.request(one, other, amount) for one, other in pairs))
            driver.drive()
            moved.set()
        assert not driver.errors

    def freeze() -> None:
        while not stop.wait(0.05):
            for change in (wallets.freeze, wallets.unfreeze):
                with transaction(bank.engine) as connection:
                    change(connection, pool[0].id)

    with ThreadPoolExecutor() as threads:
        running = [threads.submit(move, seed) for seed in range(3)] + [threads.submit(freeze)]
        try:
            yield moved
        finally:
            stop.set()
            for each in running:
                each.result(PATIENCE_S)


def test_nothing_is_found_while_money_moves_at_full_speed(books: Books) -> None:
    with moving_money(books) as moved:
        for _ in range(6):
            moved.clear()
            assert books.scan("operator") == []
            assert books.scan("schedule") == []
            assert moved.wait(PATIENCE_S), "and the scan has not stopped it"
    assert not books.latest().is_full
    books.bank.audit()


def test_a_balance_is_mended_while_money_moves(books: Books) -> None:
    with moving_money(books) as moved:
        for _ in range(3):
            moved.clear()
            assert moved.wait(PATIENCE_S)
            books.spoil(
                "UPDATE wallets SET balance = balance + 3 WHERE kind = 'transit' AND asset = 'USD'",
                "UPDATE wallets SET balance = balance + 5 WHERE kind = 'external'",
            )
            found = {books.named(each) for each in books.scan("schedule")}
            # What moved before the scan came has the wrong balance on its posting, for good.
            assert found - {("chain_broken", "transit", "alarmed")} == {
                ("projection_wrong", "transit", "rebuilt"),
                ("projection_wrong", "external", "rebuilt"),
            }
            assert books.scan() == []
    assert books.bank_sum() == 0


def test_a_wallet_is_mended_only_when_the_step_that_holds_it_is_through(books: Books) -> None:
    bank = books.bank
    batch = new_id()
    bank.step("reserve", batch)
    books.spoil("UPDATE wallets SET reserved = reserved + 1 WHERE id = :source")
    books.begin()
    with ThreadPoolExecutor(1) as threads:
        with transaction(bank.engine) as connection:
            run_step(connection, "deduct", batch, worker="test")
            scan = threads.submit(books.go_on)
            wait_until_blocked(bank.engine, unless=scan)
        [found] = scan.result(PATIENCE_S)
    # Three dollars are reserved by another; the four that were are deducted by now.
    assert (found.before, found.after) == ({"reserved": "3.01"}, {"reserved": "3.00"})
    bank.audit()


def test_wallets_with_many_postings_are_read_in_pieces(books: Books) -> None:
    bank, many = books.bank, POSTINGS_OF_EACH + 100
    left, right = bank.wallet(many), bank.wallet()
    ids = bank.accept(*(bank.request(left, right, 1) for _ in range(many)))
    bank.settle()
    assert books.scan() == []
    books.ids |= {"left": left.id, "right": right.id, "one": ids[many // 2]}
    books.spoil(
        """UPDATE postings SET debit_balance_after = debit_balance_after + 1
           WHERE transfer_id = :one AND leg = 'deduct'"""
    )
    found = books.scan()
    assert [books.named(each) for each in found] == [("chain_broken", "left", "frozen")]
    assert found[0].transfer_id == ids[many // 2]


def test_more_than_a_run_may_record_is_counted_and_left_to_the_next(books: Books) -> None:
    books.spoil(LOSE, RAISE, "DELETE FROM outcomes WHERE transfer_id = :committed")
    run = books.begin()
    books.spoil(ALMOST_FULL.format(MAX_FINDINGS - 1))
    [one] = books.go_on()
    assert one.kind == "transfer_lost"
    # The other transfer, the balance, and the sum over the asset that it spoils.
    assert books.run(run.id).findings_count == MAX_FINDINGS + 3
    other = [each.kind for each in books.scan()]
    assert other == ["transfer_lost", "projection_wrong", "asset_not_zero"]
    assert (books.latest().findings_count, books.latest().standing_count) == (3, 1)


def test_a_run_whose_worker_is_killed_goes_on_where_it_stood(books: Books) -> None:
    books.spoil(LOSE, RAISE)
    run = books.begin()
    program = f"""
from ledger.postgres.database import build_engine
from ledger.reconciliation.scan import work
engine = build_engine({books.url!r}, application_name="victim")
work(engine, every_s=3600, works_for_s=60, found=[])
"""
    with books.held("source"):  # what it has found, it cannot act on
        victim = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
        wait_until_blocked(books.bank.engine, patience_s=30)
        victim.kill()
        assert victim.wait(10) == -signal.SIGKILL
    left_at = books.run(run.id)
    assert (left_at.state, left_at.phase) == ("running", "wallets")
    assert [each.kind for each in books.recorded(run.id)] == ["transfer_lost"]
    [after] = books.go_on()
    assert books.named(after) == ("projection_wrong", "source", "rebuilt")
    ended = books.run(run.id)
    assert (ended.state, ended.findings_count, ended.assets_checked) == ("finished", 2, 6)
    assert len(books.recorded(run.id)) == 2


def test_a_run_can_be_interrupted_after_every_piece(books: Books) -> None:
    books.spoil(LOSE, RAISE, RESTAMP.format("+"))
    run = books.begin()
    found: list[Finding] = []
    pieces = 0
    while books.run(run.id).state == "running":
        found += books.go_on(works_for_s=1e-3)
        pieces += 1
    assert pieces > 3
    assert {books.named(each) for each in found} == {
        ("transfer_lost", "settled", "frozen"),
        ("chain_broken", "another", "frozen"),
        ("projection_wrong", "source", "rebuilt"),
    }


def test_a_lock_that_is_not_free_leaves_the_run_as_it_is(books: Books) -> None:
    books.spoil(RAISE)
    run = books.begin()
    with books.held("source"), pytest.raises(Unavailable):
        books.go_on()
    assert books.run(run.id).state == "running"
    assert [books.named(each) for each in books.go_on()] == [
        ("projection_wrong", "source", "rebuilt")
    ]


def test_two_at_once_do_nothing_twice(books: Books) -> None:
    """Even past the lock that keeps the second one off, which a pause of the first may lose it."""
    books.spoil(LOSE, RAISE, RESTAMP.format("+"))
    run = books.begin()
    found: list[Finding] = []
    start = threading.Barrier(3)

    def work() -> None:
        start.wait()
        for _ in range(20):
            scan_module._work_alone(books.bank.engine, 3600.0, 60.0, found)

    with ThreadPoolExecutor(3) as threads:
        for each in [threads.submit(work) for _ in range(3)]:
            each.result(60)
    ended = books.run(run.id)
    assert (ended.state, ended.findings_count, ended.assets_checked) == ("finished", 3, 6)
    assert len(found) == len(books.recorded(run.id)) == 3


def test_the_second_leaves_the_work_to_the_first(books: Books) -> None:
    run = books.begin()
    with try_lock(books.bank.engine, scan_module._LOCK_KEY) as is_alone:
        assert is_alone
        assert books.go_on() == []
        assert books.run(run.id).chunks == 0


def test_a_run_that_gets_nothing_done_is_given_up_for_a_new_one(books: Books) -> None:
    run = books.begin()
    books.spoil("ALTER TABLE read_positions RENAME TO lost_positions")
    for _ in range(scan_module.MAX_ATTEMPTS + 1):  # the first got as far as the wallets
        with pytest.raises(Misconfigured):
            books.go_on()
        assert books.run(run.id).state == "running"
    books.go_on()
    assert books.run(run.id).state == "failed"
    books.spoil("ALTER TABLE lost_positions RENAME TO read_positions")
    books.go_on(every_s=1e-6)
    after = books.latest()
    assert (after.state, after.trigger) == ("finished", "schedule")
    assert after.id != run.id


def test_what_stands_is_not_told_again_and_a_wallet_that_was_thawed_stays_so(books: Books) -> None:
    books.spoil(RESTAMP.format("+"))
    assert len(books.scan()) == 1
    assert books.frozen() == {"another"}
    with transaction(books.bank.engine) as connection:
        wallets.unfreeze(connection, books.ids["another"])
    for trigger in ("operator", "schedule"):
        assert books.scan(trigger) == []
        assert books.frozen() == set()
        assert books.latest().standing_count == 1
    books.spoil(RESTAMP.format("-"))
    assert books.scan() == []
    assert books.latest().standing_count == 0
    books.spoil(RESTAMP.format("+"))
    assert len(books.scan()) == 1, "it is wrong anew"
    assert books.frozen() == {"another"}


def test_a_scheduled_run_reads_what_is_new_and_once_a_day_all(books: Books) -> None:
    assert books.scan("schedule") == []
    assert books.latest().is_full, "nothing has been read before"
    books.spoil(RESTAMP.format("+"))
    assert books.scan("schedule") == [], "what was read is not read again"
    assert not books.latest().is_full
    age(books, hours=25)
    assert len(books.scan("schedule")) == 1
    assert books.latest().is_full


def test_a_run_of_what_is_new_sees_every_transfer_that_ended_since_the_last(books: Books) -> None:
    assert books.scan() == []
    age(books, hours=2)  # the transfers under way were there before
    books.bank.step("commit", batch_of(books, "credited"))
    books.spoil("DELETE FROM outcomes WHERE transfer_id = :credited")
    found = books.scan("schedule")
    assert ("transfer_lost", "credited", "frozen") in map(books.named, found)
    assert not books.latest().is_full


def test_nothing_is_mended_before_all_has_been_read(books: Books) -> None:
    assert books.scan() == []
    books.spoil(RAISE)
    assert [books.named(each) for each in books.scan("schedule")] == [
        ("projection_wrong", "source", "rebuilt")
    ]
    run = books.latest()
    assert (run.is_full, run.transfers_checked) == (True, 11)
    # An old posting is gone, which a run of what is new does not see by itself.
    books.spoil("DELETE FROM postings WHERE transfer_id = :settled AND leg = 'credit'", LATER)
    assert ("leg_missing", "settled", "frozen") in map(books.named, books.scan("schedule"))


LATER = "UPDATE wallets SET balance = balance + 1 WHERE id = :another"


def test_a_wallet_is_not_mended_from_a_journal_that_was_spoilt_meanwhile(books: Books) -> None:
    books.spoil(LATER)
    run = books.begin()
    while not books.run(run.id).next_suspects:
        assert books.go_on(works_for_s=1e-9) == []
    books.spoil("DELETE FROM postings WHERE transfer_id = :settled AND leg = 'credit'")
    found = {books.named(each) for each in books.go_on()}
    assert {
        ("leg_missing", "settled", "frozen"),
        ("projection_wrong", "another", "frozen"),
    } <= found
    assert "rebuilt" not in {action for *_, action in found}


def test_a_wallet_that_is_spoilt_again_and_again_is_stopped_in_the_end(books: Books) -> None:
    books.spoil(LATER)
    run = books.begin()
    found: list[Finding] = []
    while (now := books.run(run.id)).state == "running":
        found += books.go_on(works_for_s=1e-9)
        if (after := books.run(run.id)).passes != now.passes:
            assert after.passes <= scan_module.MAX_PASSES
            books.spoil(LATER)
    assert {books.named(each) for each in found} == {
        ("projection_wrong", "another", "frozen"),
        ("asset_not_zero", "USD", "alarmed"),
    }


def test_a_run_is_due_when_the_last_is_old_enough(books: Books) -> None:
    books.go_on()
    first = books.latest()
    assert (first.state, first.trigger) == ("finished", "schedule")
    books.go_on(every_s=60)
    assert books.latest() == first
    age(books, hours=1)
    books.go_on(every_s=60)
    assert books.latest().id != first.id


def test_two_who_begin_at_once_begin_one(bank: Bank) -> None:
    with transaction(bank.engine) as connection:
        first, is_new = runs.begin(connection, "operator")
    assert is_new
    (one, _), (two, _) = both_at_once(
        bank.engine,
        lambda connection: runs.begin(connection, "operator"),
        lambda connection: runs.begin(connection, "schedule"),
    )
    assert first.id == one.id == two.id


def test_runs_that_found_nothing_are_forgotten_after_a_while_and_others_are_kept(
    books: Books,
) -> None:
    with transaction(books.bank.engine) as connection:
        assert runs.latest(connection) is None
    assert books.scan() == []
    nothing = books.latest()
    books.spoil(RAISE)
    assert len(books.scan()) == 1
    something = books.latest()
    age(books, hours=runs.KEPT_S / 3600 + 1)
    with transaction(books.bank.engine) as connection:
        assert runs.prune(connection) == 1
        with pytest.raises(NotFound):
            runs.get(connection, nothing.id)
        assert runs.list_runs(connection, limit=5, before=None) == [books.run(something.id)]
        counts = runs.count_findings(connection)
    assert counts == {("projection_wrong", "rebuilt"): 1}


def age(books: Books, *, hours: float) -> None:
    """As if all runs had been so much earlier, but for where they have looked."""
    with transaction(books.bank.engine) as connection:
        connection.execute(
            text("""UPDATE reconciliations SET started_at = started_at - :age"""),
            {"age": timedelta(hours=hours)},
        )


def batch_of(books: Books, name: str) -> UUID:
    with transaction(books.bank.engine) as connection:
        query = text("SELECT batch_id::text FROM unfinished WHERE transfer_id = :id")
        return UUID(connection.execute(query, {"id": books.ids[name]}).scalar_one())
