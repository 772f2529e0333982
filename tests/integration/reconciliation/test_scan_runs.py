"""Runs of the reconciliation scan: under load, interrupted, concurrent, and repeated."""

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
from ledger.reconciliation.budget import Budget
from ledger.reconciliation.findings import MAX_FINDINGS, Finding
from ledger.reconciliation.wallet_scan import POSTINGS_AT_ONCE, USUAL_WALLETS
from ledger.steps import run_step
from testing.bank import Bank
from testing.batch_driver import BatchDriver
from testing.concurrent_transactions import TIMEOUT_S, both_at_once, wait_until_blocked
from testing.corruptible_ledger import CorruptibleLedger
from testing.servers.shared import ROOT

RAISE = "UPDATE wallets SET balance = balance + 1000 WHERE id = :source"
RESTAMP = """UPDATE postings SET credit_balance_after = credit_balance_after {} 1
             WHERE transfer_id = :settled AND leg = 'credit'"""
ALMOST_FULL = "UPDATE reconciliations SET findings_count = {}"
LOSE = "DELETE FROM outcomes WHERE transfer_id = :settled"


@contextmanager
def moving_money(ledger: CorruptibleLedger) -> Iterator[threading.Event]:
    """Run transfers of all kinds without pause, and freeze and unfreeze a wallet repeatedly."""
    stop, moved = threading.Event(), threading.Event()
    bank = ledger.bank
    pool = [bank.wallet(1_000_00) for _ in range(5)]

    def move(seed: int) -> None:
        choice = random.Random(seed)  # noqa: S311 - which wallets pay whom is no secret
        driver = BatchDriver(bank.engine)
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
                each.result(TIMEOUT_S)


def test_nothing_is_found_while_money_moves_at_full_speed(ledger: CorruptibleLedger) -> None:
    with moving_money(ledger) as moved:
        for _ in range(6):
            moved.clear()
            assert ledger.scan("operator") == []
            assert ledger.scan("schedule") == []
            assert moved.wait(TIMEOUT_S), "and the scan has not stopped it"
    assert not ledger.latest().is_full
    ledger.bank.audit()


def test_a_balance_is_rebuilt_while_money_moves(ledger: CorruptibleLedger) -> None:
    with moving_money(ledger) as moved:
        for _ in range(3):
            moved.clear()
            assert moved.wait(TIMEOUT_S)
            ledger.corrupt("UPDATE wallets SET balance = balance + 5 WHERE kind = 'external'")
            found = {ledger.named(each) for each in ledger.scan("schedule")}
            assert found == {("projection_wrong", "external", "rebuilt")}
            assert ledger.scan() == []
    assert ledger.bank_sum() == 0


def test_a_wrong_balance_that_newer_postings_carry_on_is_not_rebuilt(
    ledger: CorruptibleLedger,
) -> None:
    with moving_money(ledger) as moved:
        ledger.corrupt(
            "UPDATE wallets SET balance = balance + 3 WHERE kind = 'transit' AND asset = 'USD'"
        )
        moved.clear()
        assert moved.wait(TIMEOUT_S)
        found = {ledger.named(each) for each in ledger.scan("schedule")}
        assert found == {
            ("chain_broken", "transit", "alarmed"),
            ("projection_wrong", "transit", "alarmed"),
            ("asset_not_zero", "USD", "alarmed"),
        }
        assert ledger.scan() == []
    assert ledger.bank_sum() == 3


def test_a_wallet_is_rebuilt_only_after_the_step_that_holds_it(
    ledger: CorruptibleLedger,
) -> None:
    bank = ledger.bank
    batch = new_id()
    bank.step("reserve", batch)
    ledger.corrupt("UPDATE wallets SET reserved = reserved + 1 WHERE id = :source")
    ledger.begin()
    with ThreadPoolExecutor(1) as threads:
        with transaction(bank.engine) as connection:
            run_step(connection, "deduct", batch, worker="test")
            scan = threads.submit(ledger.continue_run)
            wait_until_blocked(bank.engine, unless=scan)
        [found] = scan.result(TIMEOUT_S)
    # 3 USD are reserved by another transfer; the former 4 USD are deducted by now.
    assert (found.before, found.after) == ({"reserved": "3.01"}, {"reserved": "3.00"})
    bank.audit()


def test_wallets_with_many_postings_are_read_in_pieces(ledger: CorruptibleLedger) -> None:
    bank, many = ledger.bank, POSTINGS_AT_ONCE // USUAL_WALLETS + 100
    left, right = bank.wallet(many), bank.wallet()
    ids = bank.accept(*(bank.request(left, right, 1) for _ in range(many)))
    bank.settle()
    assert ledger.scan() == []
    ledger.ids |= {"left": left.id, "right": right.id, "one": ids[many // 2]}
    ledger.corrupt(
        """UPDATE postings SET debit_balance_after = debit_balance_after + 1
           WHERE transfer_id = :one AND leg = 'deduct'"""
    )
    found = ledger.scan()
    assert [ledger.named(each) for each in found] == [("chain_broken", "left", "frozen")]
    assert found[0].transfer_id == ids[many // 2]


def test_findings_beyond_the_limit_are_counted_and_left_to_the_next_run(
    ledger: CorruptibleLedger,
) -> None:
    ledger.corrupt(LOSE, RAISE, "DELETE FROM outcomes WHERE transfer_id = :committed")
    run = ledger.begin()
    ledger.corrupt(ALMOST_FULL.format(MAX_FINDINGS - 1))
    [one] = ledger.continue_run()
    assert one.kind == "transfer_lost"
    # The other transfer, the balance, and the sum over the asset that it makes wrong.
    assert ledger.run(run.id).findings_count == MAX_FINDINGS + 3
    other = [each.kind for each in ledger.scan()]
    assert other == ["transfer_lost", "projection_wrong", "asset_not_zero"]
    assert (ledger.latest().findings_count, ledger.latest().standing_count) == (3, 1)


def test_a_run_whose_worker_is_killed_goes_on_where_it_stood(ledger: CorruptibleLedger) -> None:
    ledger.corrupt(LOSE, RAISE)
    run = ledger.begin()
    program = f"""
from ledger.postgres.database import build_engine
from ledger.reconciliation.scan import work
engine = build_engine({ledger.url!r}, application_name="victim")
work(engine, every_s=3600, works_for_s=60, found=[])
"""
    with ledger.held("source"):  # so that it cannot act on what it has found
        victim = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
        wait_until_blocked(ledger.bank.engine, timeout_s=30)
        victim.kill()
        assert victim.wait(10) == -signal.SIGKILL
    left_at = ledger.run(run.id)
    assert (left_at.state, left_at.phase) == ("running", "wallets")
    assert [each.kind for each in ledger.recorded(run.id)] == ["transfer_lost"]
    [after] = ledger.continue_run()
    assert ledger.named(after) == ("projection_wrong", "source", "rebuilt")
    ended = ledger.run(run.id)
    assert (ended.state, ended.findings_count, ended.assets_checked) == ("finished", 2, 6)
    assert len(ledger.recorded(run.id)) == 2


def test_a_run_can_be_interrupted_after_every_piece(ledger: CorruptibleLedger) -> None:
    ledger.corrupt(LOSE, RAISE, RESTAMP.format("+"))
    run = ledger.begin()
    found: list[Finding] = []
    pieces = 0
    while ledger.run(run.id).state == "running":
        found += ledger.continue_run(works_for_s=1e-3)
        pieces += 1
    assert pieces > 3
    assert {ledger.named(each) for each in found} == {
        ("transfer_lost", "settled", "frozen"),
        ("chain_broken", "another", "frozen"),
        ("projection_wrong", "source", "rebuilt"),
    }


def test_a_lock_that_is_not_free_leaves_the_run_as_it_is(ledger: CorruptibleLedger) -> None:
    ledger.corrupt(RAISE)
    run = ledger.begin()
    with ledger.held("source"), pytest.raises(Unavailable):
        ledger.continue_run()
    assert ledger.run(run.id).state == "running"
    assert [ledger.named(each) for each in ledger.continue_run()] == [
        ("projection_wrong", "source", "rebuilt")
    ]


def test_two_at_once_do_nothing_twice(ledger: CorruptibleLedger) -> None:
    """Also without the lock between them, which the first may lose during a pause."""
    ledger.corrupt(LOSE, RAISE, RESTAMP.format("+"))
    run = ledger.begin()
    found: list[Finding] = []
    start = threading.Barrier(3)

    def work() -> None:
        start.wait()
        for _ in range(20):
            scan_module._work_alone(ledger.bank.engine, 3600.0, Budget(60.0, 60.0), found)

    with ThreadPoolExecutor(3) as threads:
        for each in [threads.submit(work) for _ in range(3)]:
            each.result(60)
    ended = ledger.run(run.id)
    assert (ended.state, ended.findings_count, ended.assets_checked) == ("finished", 3, 6)
    assert len(found) == len(ledger.recorded(run.id)) == 3


def test_the_second_leaves_the_work_to_the_first(ledger: CorruptibleLedger) -> None:
    run = ledger.begin()
    with try_lock(ledger.bank.engine, scan_module._LOCK_KEY) as is_alone:
        assert is_alone
        assert ledger.continue_run() == []
        assert ledger.run(run.id).chunks == 0


def test_a_run_without_progress_is_replaced_by_a_new_one(ledger: CorruptibleLedger) -> None:
    run = ledger.begin()
    ledger.corrupt("ALTER TABLE read_positions RENAME TO lost_positions")
    for _ in range(scan_module.MAX_ATTEMPTS + 1):  # the first got as far as the wallets
        with pytest.raises(Misconfigured):
            ledger.continue_run()
        assert ledger.run(run.id).state == "running"
    ledger.continue_run()
    assert ledger.run(run.id).state == "failed"
    ledger.corrupt("ALTER TABLE lost_positions RENAME TO read_positions")
    ledger.continue_run(every_s=1e-6)
    after = ledger.latest()
    assert (after.state, after.trigger) == ("finished", "schedule")
    assert after.id != run.id


def test_a_known_finding_is_not_reported_again_and_an_unfrozen_wallet_stays_unfrozen(
    ledger: CorruptibleLedger,
) -> None:
    ledger.corrupt(RESTAMP.format("+"))
    assert len(ledger.scan()) == 1
    assert ledger.frozen() == {"another"}
    with transaction(ledger.bank.engine) as connection:
        wallets.unfreeze(connection, ledger.ids["another"])
    for trigger in ("operator", "schedule"):
        assert ledger.scan(trigger) == []
        assert ledger.frozen() == set()
        assert ledger.latest().standing_count == 1
    ledger.corrupt(RESTAMP.format("-"))
    assert ledger.scan() == []
    assert ledger.latest().standing_count == 0
    ledger.corrupt(RESTAMP.format("+"))
    assert len(ledger.scan()) == 1, "it is wrong again"
    assert ledger.frozen() == {"another"}


def test_a_scheduled_run_reads_what_is_new_and_once_a_day_all(ledger: CorruptibleLedger) -> None:
    assert ledger.scan("schedule") == []
    assert ledger.latest().is_full, "nothing has been read before"
    ledger.corrupt(RESTAMP.format("+"))
    assert ledger.scan("schedule") == [], "what was read is not read again"
    assert not ledger.latest().is_full
    age(ledger, hours=25)
    assert len(ledger.scan("schedule")) == 1
    assert ledger.latest().is_full


def test_an_incremental_run_sees_every_transfer_that_ended_since_the_last(
    ledger: CorruptibleLedger,
) -> None:
    assert ledger.scan() == []
    age(ledger, hours=2)  # the transfers under way were there before
    ledger.bank.step("commit", batch_of(ledger, "credited"))
    ledger.corrupt("DELETE FROM outcomes WHERE transfer_id = :credited")
    found = ledger.scan("schedule")
    assert ("transfer_lost", "credited", "frozen") in map(ledger.named, found)
    assert not ledger.latest().is_full


def test_nothing_is_repaired_before_all_has_been_read(ledger: CorruptibleLedger) -> None:
    assert ledger.scan() == []
    ledger.corrupt(RAISE)
    assert [ledger.named(each) for each in ledger.scan("schedule")] == [
        ("projection_wrong", "source", "rebuilt")
    ]
    run = ledger.latest()
    assert (run.is_full, run.transfers_checked) == (True, 11)
    # An old posting is gone, which an incremental run does not see by itself.
    ledger.corrupt("DELETE FROM postings WHERE transfer_id = :settled AND leg = 'credit'", LATER)
    assert ("leg_missing", "settled", "frozen") in map(ledger.named, ledger.scan("schedule"))


LATER = "UPDATE wallets SET balance = balance + 1 WHERE id = :another"


def test_a_wallet_is_not_rebuilt_from_a_corrupted_journal(
    ledger: CorruptibleLedger,
) -> None:
    ledger.corrupt(LATER)
    run = ledger.begin()
    while not ledger.run(run.id).next_suspects:
        assert ledger.continue_run(works_for_s=1e-9) == []
    ledger.corrupt("DELETE FROM postings WHERE transfer_id = :settled AND leg = 'credit'")
    found = {ledger.named(each) for each in ledger.continue_run()}
    assert {
        ("leg_missing", "settled", "frozen"),
        ("projection_wrong", "another", "frozen"),
    } <= found
    assert "rebuilt" not in {action for *_, action in found}


def test_a_wallet_that_is_corrupted_repeatedly_is_frozen_in_the_end(
    ledger: CorruptibleLedger,
) -> None:
    ledger.corrupt(LATER)
    run = ledger.begin()
    found: list[Finding] = []
    while (now := ledger.run(run.id)).state == "running":
        found += ledger.continue_run(works_for_s=1e-9)
        if (after := ledger.run(run.id)).passes != now.passes:
            assert after.passes <= scan_module.MAX_PASSES
            ledger.corrupt(LATER)
    assert {ledger.named(each) for each in found} == {
        ("projection_wrong", "another", "frozen"),
        ("asset_not_zero", "USD", "alarmed"),
    }


def test_a_run_is_due_when_the_last_is_old_enough(ledger: CorruptibleLedger) -> None:
    ledger.continue_run()
    first = ledger.latest()
    assert (first.state, first.trigger) == ("finished", "schedule")
    ledger.continue_run(every_s=60)
    assert ledger.latest() == first
    age(ledger, hours=1)
    ledger.continue_run(every_s=60)
    assert ledger.latest().id != first.id


def test_two_begins_at_once_begin_one_run(bank: Bank) -> None:
    with transaction(bank.engine) as connection:
        first, is_new = runs.begin(connection, "operator")
    assert is_new
    (one, _), (two, _) = both_at_once(
        bank.engine,
        lambda connection: runs.begin(connection, "operator"),
        lambda connection: runs.begin(connection, "schedule"),
    )
    assert first.id == one.id == two.id


def test_runs_without_findings_are_deleted_later_and_others_are_kept(
    ledger: CorruptibleLedger,
) -> None:
    with transaction(ledger.bank.engine) as connection:
        assert runs.latest(connection) is None
    assert ledger.scan() == []
    nothing = ledger.latest()
    ledger.corrupt(RAISE)
    assert len(ledger.scan()) == 1
    something = ledger.latest()
    age(ledger, hours=runs.KEPT_S / 3600 + 1)
    with transaction(ledger.bank.engine) as connection:
        assert runs.prune(connection) == 1
        with pytest.raises(NotFound):
            runs.get(connection, nothing.id)
        assert runs.list_runs(connection, limit=5, before=None) == [ledger.run(something.id)]
        counts = runs.count_findings(connection)
    assert counts == {("projection_wrong", "rebuilt"): 1}


def age(ledger: CorruptibleLedger, *, hours: float) -> None:
    """Move all runs back in time by this much, but keep their positions."""
    with transaction(ledger.bank.engine) as connection:
        connection.execute(
            text("""UPDATE reconciliations SET started_at = started_at - :age"""),
            {"age": timedelta(hours=hours)},
        )


def batch_of(ledger: CorruptibleLedger, name: str) -> UUID:
    with transaction(ledger.bank.engine) as connection:
        query = text("SELECT batch_id::text FROM unfinished WHERE transfer_id = :id")
        return UUID(connection.execute(query, {"id": ledger.ids[name]}).scalar_one())
