"""Order of acceptance: a transfer waits for the money that earlier ones still bring."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from ledger import isolation, steps, wallets
from ledger.acceptance import Acceptance
from ledger.funds import waits
from ledger.funds.on_the_way import READ_LIMIT
from ledger.funds.waits import NOTED_WAITS, RELEASED_AT_ONCE
from ledger.ids import new_id
from ledger.postgres.database import autocommit, transaction
from ledger.recovery import is_waiting, redrive_stuck
from ledger.reserve import CLAIM_LIMIT, claim, take
from ledger.states import STEPS
from ledger.steps import Progress
from testing.bank import Bank
from testing.batch_driver import BatchDriver, release_all
from testing.concurrent_transactions import both_at_once


def settle_step_by_step(bank: Bank, batch: UUID, *steps: str) -> None:
    for step in steps or [name for name, _, _ in STEPS]:
        bank.step(step, batch)


def test_money_that_comes_in_by_a_batch_may_leave_by_the_same_batch(bank: Bank) -> None:
    e, a, b, c = bank.wallet(100), bank.wallet(), bank.wallet(), bank.wallet()
    made = bank.accept(bank.request(e, a, 100), bank.request(a, b, 60), bank.request(b, c, 50))
    bank.settle()
    assert [bank.state(id) for id in made] == ["committed"] * 3
    assert [bank.look(wallet).balance for wallet in (e, a, b, c)] == [0, 40, 10, 50]
    bank.audit()


def test_money_that_an_earlier_request_brings_may_be_spent_before_it_has_come(bank: Bank) -> None:
    e, a, b = bank.wallet(100), bank.wallet(), bank.wallet()
    for state in ("accepted", "reserved", "deducted", "credited"):
        batch = bank.reach(state, bank.request(e, a, 20))
        [spent] = bank.accept(bank.request(a, b, 20))
        assert bank.state(spent) == "accepted"
        bank.step("reserve", other := new_id())
        assert bank.state(spent) in ("accepted", "reserved")
        settle_step_by_step(bank, batch)
        settle_step_by_step(bank, other)
        bank.settle()
        assert bank.state(spent) == "committed", state
    bank.audit()


def test_what_no_earlier_transfer_can_change_is_refused_at_once(bank: Bank) -> None:
    e, a, b = bank.wallet(100), bank.wallet(), bank.wallet()
    [refused, _] = bank.accept(bank.request(a, b, 60), bank.request(e, a, 100))
    assert bank.state(refused) == "rejected"


def test_it_is_refused_once_everything_before_it_has_ended_and_did_not_suffice(bank: Bank) -> None:
    e, a, b = bank.wallet(100), bank.wallet(), bank.wallet()
    first = bank.request(e, a, 50)
    [brings, short] = bank.accept(first, bank.request(a, b, 60))
    bank.settle()
    assert (bank.state(brings), bank.state(short)) == ("committed", "rejected")
    failure = bank.transfer(short).failure
    assert failure is not None
    assert failure.code == "insufficient_funds"
    bank.audit()


def test_it_is_refused_when_what_it_waited_for_is_rolled_back(bank: Bank) -> None:
    e, a, b = bank.wallet(100), bank.wallet(), bank.wallet()
    batch = bank.reach("deducted", bank.request(e, a, 100))
    [short] = bank.accept(bank.request(a, b, 60))
    bank.settle()
    assert bank.state(short) == "accepted"
    with transaction(bank.engine) as connection:
        wallets.freeze(connection, a.id)
    bank.step("credit", batch)
    with transaction(bank.engine) as connection:
        wallets.unfreeze(connection, a.id)
    bank.roll_back(batch)
    bank.settle()
    assert bank.state(short) == "rejected"
    assert bank.look(e).balance == 100
    bank.audit()


def test_a_later_smaller_one_does_not_take_the_money_of_one_that_waits(bank: Bank) -> None:
    e, a, b = bank.wallet(100), bank.wallet(10), bank.wallet()
    batch = bank.reach("reserved", bank.request(e, a, 100))
    made = bank.accept(*(bank.request(a, b, amount) for amount in (105, 5, 6)))
    bank.settle()
    assert {bank.state(id) for id in made} == {"accepted"}
    settle_step_by_step(bank, batch)
    bank.settle()
    assert [bank.state(id) for id in made] == ["committed", "committed", "rejected"]
    bank.audit()


def test_the_timeline_says_for_which_transfer_it_waits(bank: Bank) -> None:
    e, a, b = bank.wallet(100), bank.wallet(), bank.wallet()
    batch = bank.reach("reserved", bank.request(e, a, 100))
    [answer] = bank.answers(bank.request(a, b, 60))
    assert isinstance(answer, Acceptance)
    bank.settle()
    assert bank.timeline(answer.transfer.id) == ["accepted", "waiting"]
    settle_step_by_step(bank, batch)
    bank.settle()
    ended = ["accepted", "waiting", "reserved", "deducted", "credited", "committed"]
    assert bank.timeline(answer.transfer.id) == ended


def reserving(batch: UUID) -> Callable[[Connection], Progress]:
    return lambda connection: steps.run_step(connection, "reserve", batch, worker="test")


def test_of_two_reserves_at_once_the_later_one_leaves_the_money_to_the_earlier_transfer(
    bank: Bank,
) -> None:
    a, b, c = bank.wallet(100), bank.wallet(), bank.wallet(100)
    [first] = bank.accept(bank.request(a, b, 100))
    [second] = bank.accept(bank.request(a, b, 90))
    one, two = new_id(), new_id()

    def claim_the_first(connection: Connection) -> None:
        query = "UPDATE unfinished SET batch_id = :batch WHERE transfer_id = :id"
        connection.execute(text(query), {"batch": one, "id": first})

    # The other worker claims both of these, but comes to the wallet first.
    [other] = bank.accept(bank.request(c, b, 1))
    _, progress = both_at_once(bank.engine, claim_the_first, reserving(two))
    assert progress.moved == 1
    assert (bank.state(second), bank.state(other)) == ("accepted", "reserved")
    settle_step_by_step(bank, one)
    settle_step_by_step(bank, two)
    bank.settle()
    assert (bank.state(first), bank.state(second)) == ("committed", "rejected")
    bank.audit()


def test_where_there_is_enough_for_all_nobody_waits_for_another_worker(bank: Bank) -> None:
    a, b = bank.wallet(190), bank.wallet()
    [first, second] = bank.accept(bank.request(a, b, 100), bank.request(a, b, 90))
    with transaction(bank.engine) as connection:
        query = "UPDATE unfinished SET batch_id = :batch WHERE transfer_id = :id"
        connection.execute(text(query), {"batch": new_id(), "id": first})
    assert bank.step("reserve", new_id()).moved == 1
    assert (bank.state(first), bank.state(second)) == ("accepted", "reserved")


def test_nobody_waits_for_the_transfers_of_another_wallet(bank: Bank) -> None:
    a, b, c = bank.wallet(90), bank.wallet(), bank.wallet(1_000)
    [other, own] = bank.accept(bank.request(c, b, 1_000), bank.request(a, b, 90))
    [last] = bank.accept(bank.request(c, b, 1))
    with transaction(bank.engine) as connection:
        query = "UPDATE unfinished SET batch_id = :batch WHERE transfer_id = :id"
        connection.execute(text(query), {"batch": new_id(), "id": other})
    assert bank.step("reserve", new_id()).moved == 1
    assert [bank.state(id) for id in (other, own, last)] == ["accepted", "reserved", "accepted"]
    assert bank.timeline(last) == ["accepted", "waiting"]


def test_a_wait_that_begins_while_the_other_transfer_is_being_rejected_ends_as_well(
    bank: Bank,
) -> None:
    e, a, b = bank.wallet(100), bank.wallet(), bank.wallet()
    [brings] = bank.accept(bank.request(e, a, 100))
    one = new_id()
    with transaction(bank.engine) as connection:
        assert claim(connection, one) == 1
    [short] = bank.accept(bank.request(a, b, 60))
    with transaction(bank.engine) as connection:
        wallets.freeze(connection, e.id)
    # While the wait is being written, nobody rejects the other: it is left to a later reserve.
    _, progress = both_at_once(bank.engine, reserving(new_id()), reserving(one))
    assert progress == Progress(more=True)
    assert bank.timeline(brings) == ["accepted"]
    assert bank.timeline(short) == ["accepted", "waiting"]
    assert bank.step("reserve", new_id()).more, "it rejects the other, and ends the wait"
    assert (bank.state(brings), bank.state(short)) == ("rejected", "accepted")
    bank.settle()
    assert bank.state(short) == "rejected"
    bank.audit()


def test_a_transfer_that_waits_is_not_stuck_and_asks_for_no_reserve(bank: Bank) -> None:
    e, a, b = bank.wallet(100), bank.wallet(), bank.wallet()
    batch = bank.reach("credited", bank.request(e, a, 100))
    [short] = bank.accept(bank.request(a, b, 60))
    assert bank.step("reserve", new_id()) == Progress()
    assert bank.step("reserve", new_id()) == Progress(), "it is not claimed again and again"
    with transaction(bank.engine) as connection:
        assert not is_waiting(connection, waiting_s=0)
        assert not waits.release_ended(connection)
        [redrive] = redrive_stuck(connection, stuck_after_s=0, worker="scan")
    assert (redrive.state, redrive.count) == ("credited", 1)
    assert batch != redrive.batch_id
    BatchDriver(bank.engine).drive("credited", redrive.batch_id)
    assert bank.state(short) == "committed"


def test_the_scan_releases_what_waits_for_one_that_has_ended(bank: Bank) -> None:
    # As when a process dies between the commit and the release of the rest.
    e, a, b = bank.wallet(100), bank.wallet(), bank.wallet()
    batch = bank.reach("reserved", bank.request(e, a, 100))
    count = RELEASED_AT_ONCE + 5
    made = bank.accept(*(bank.request(a, b, 60) for _ in range(count)))
    while bank.step("reserve", new_id()).more:
        pass
    settle_step_by_step(bank, batch)
    with transaction(bank.engine) as connection:
        assert waits.release_ended(connection) == 5
    bank.settle()
    assert bank.state(made[0]) == "committed"
    assert bank.states(made[1:]) == {"rejected"}
    bank.audit()


def test_the_scan_waits_for_no_row_that_another_transaction_has_locked(bank: Bank) -> None:
    e, a, b = bank.wallet(100), bank.wallet(), bank.wallet()
    batch = bank.reach("credited", bank.request(e, a, 100))
    made = bank.accept(bank.request(a, b, 60), bank.request(a, b, 30))
    bank.step("reserve", new_id())
    with bank.engine.connect() as connection:
        locked = text("SELECT FROM unfinished WHERE transfer_id = ANY (:ids) FOR UPDATE")
        connection.execute(locked, {"ids": made})
        settle_step_by_step(bank, batch, "commit")
        connection.rollback()
        connection.execute(locked, {"ids": made[:1]})
        with transaction(bank.engine) as scan:
            assert waits.release_ended(scan) == 1
    with transaction(bank.engine) as scan:
        assert waits.release_ended(scan) == 1
    bank.settle()
    assert bank.states(made) == {"committed"}


def test_a_row_that_another_transaction_has_locked_is_released_after_the_commit(bank: Bank) -> None:
    e, a, b = bank.wallet(100), bank.wallet(), bank.wallet()
    batch = bank.reach("credited", bank.request(e, a, 100))
    [short] = bank.accept(bank.request(a, b, 60))
    bank.step("reserve", new_id())

    def lock(connection: Connection) -> None:
        query = "SELECT FROM unfinished WHERE transfer_id = :id FOR UPDATE"
        connection.execute(text(query), {"id": short})

    def commit(connection: Connection) -> Progress:
        return steps.run_step(connection, "commit", batch, worker="test")

    _, progress = both_at_once(bank.engine, lock, commit)
    assert not progress.more
    assert release_all(bank.engine, progress.awaited) == 1
    bank.settle()
    assert bank.state(short) == "committed"


def test_isolation_of_a_batch_leaves_those_that_wait_alone(bank: Bank) -> None:
    e, a, b = bank.wallet(100), bank.wallet(), bank.wallet()
    held = bank.reach("reserved", bank.request(e, a, 100))
    [short, *others] = bank.accept(
        bank.request(a, b, 60), bank.request(e, b, 1), bank.request(e, b, 1)
    )
    assert bank.state(short) == "accepted"
    with transaction(bank.engine) as connection:
        halves = isolation.isolate_step(connection, "reserve", new_id(), worker="test")
    driver = BatchDriver(bank.engine)
    for half in halves:
        driver.drive(batch_id=half)
    assert bank.states(others) == {"rejected"}
    assert bank.timeline(short) == ["accepted", "waiting"]
    BatchDriver(bank.engine).drive("reserved", held)
    assert bank.state(short) == "committed"


def test_a_timeline_shows_a_limited_number_of_waits(bank: Bank) -> None:
    [transfer] = bank.accept(bank.request(bank.wallet(1), bank.wallet(), 1))
    with transaction(bank.engine) as connection:
        for _ in range(NOTED_WAITS + 3):
            waits.put_back(connection, [(transfer, new_id())], worker="test")
    assert bank.timeline(transfer).count("waiting") == NOTED_WAITS


def test_more_that_are_ahead_than_are_read_are_still_ahead(bank: Bank) -> None:
    a, b = bank.wallet(READ_LIMIT + 10), bank.wallet()
    ahead = bank.accept(*(bank.request(a, b, 1) for _ in range(READ_LIMIT + 10)))
    batch = new_id()
    with transaction(bank.engine) as connection:
        assert claim(connection, batch) == len(ahead)
    [last] = bank.accept(bank.request(a, b, 1))
    assert bank.step("reserve", new_id()) == Progress()
    BatchDriver(bank.engine).drive(batch_id=batch)
    assert bank.states(ahead) == {"committed"}
    assert bank.state(last) == "rejected"


@pytest.mark.parametrize("seed", range(3))
def test_with_several_workers_each_is_refused_only_where_the_order_of_acceptance_refuses_it(
    bank: Bank, seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test, not a secret
    held = [bank.wallet(60) for _ in range(5)]
    requests = []
    for _ in range(600):
        one, two = rng.sample(held, 2)
        requests.append(bank.request(one, two, rng.randrange(1, 50)))
    submitted = threading.Event()

    def work(number: int) -> None:
        driver = BatchDriver(bank.engine, worker=f"driver {number}")
        while not submitted.is_set() or bank.unfinished():
            driver.drive()

    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work, number) for number in range(3)]
        made = []
        for start in range(0, len(requests), 20):
            made += bank.accept(*requests[start : start + 20])
        submitted.set()
        for worker in working:
            worker.result(120)

    with autocommit(bank.engine) as connection:
        rows = connection.execute(text("SELECT transfer_id, state FROM outcomes"))
        states = {row.transfer_id: row.state for row in rows}
    balances = {wallet.id: 60 for wallet in held}
    refused = 0
    for id, request in zip(made, requests, strict=True):
        if states[id] == "committed":
            # It may be below zero here: a wait may end with money that was accepted later.
            balances[request.source_id] -= request.amount_minor
            balances[request.destination_id] += request.amount_minor
        else:
            refused += 1
            assert balances[request.source_id] < request.amount_minor, "earlier ones left enough"
    assert refused > 10
    bank.audit()


def test_with_enough_for_all_nobody_waits_however_many_are_ahead(bank: Bank) -> None:
    rich, destination = bank.wallet(10_000), bank.wallet()
    bank.accept(*(bank.request(rich, destination, 1) for _ in range(CLAIM_LIMIT + 10)))
    with transaction(bank.engine) as slower:
        # It has claimed the first ones, and is not at the lock of the wallet yet.
        assert take(slower, new_id()) == CLAIM_LIMIT
        assert bank.step("reserve", new_id()).moved == 10


def test_a_reserve_that_does_not_end_holds_up_only_what_lacks_funds(bank: Bank) -> None:
    short, rich, destination = bank.wallet(5), bank.wallet(100), bank.wallet()
    [contested, innocent] = bank.accept(
        bank.request(short, destination, 1), bank.request(rich, destination, 1)
    )
    with transaction(bank.engine) as connection:
        connection.execute(text("UPDATE wallets SET reserved = 5 WHERE id = :id"), {"id": short.id})
    with transaction(bank.engine) as frozen:
        assert waits.try_lock(frozen)
        progress = bank.step("reserve", new_id())
        assert (progress.moved, progress.more) == (1, True)
        assert (bank.state(contested), bank.state(innocent)) == ("accepted", "reserved")
    with transaction(bank.engine) as connection:
        connection.execute(text("UPDATE wallets SET reserved = 0 WHERE id = :id"), {"id": short.id})
    bank.settle()
    assert bank.state(contested) == "committed"
