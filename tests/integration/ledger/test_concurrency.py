"""Concurrency: totals stay correct at every moment, and each lock has its race test."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from ledger import steps, wallets
from ledger.acceptance import TransferRequest
from ledger.errors import InvalidState
from ledger.ids import new_id
from ledger.postgres.database import autocommit, transaction
from ledger.states import STEPS, StepName
from ledger.steps import Progress
from ledger.wallets import Wallet
from testing.bank import Bank
from testing.batch_driver import BatchDriver
from testing.concurrent_transactions import (
    both_at_once,
    meanwhile,
    second_waits_for_first,
    wait_until_blocked,
)

DRIVERS = 4
TIMEOUT_S = 60.0


@contextmanager
def drivers_at_work(bank: Bank) -> Iterator[Callable[[], list[BatchDriver]]]:
    """Run several workers until all is submitted and nothing is left to do.

    Yields: a function to call when all is submitted; it waits for the workers and returns them.
    """
    submitted = threading.Event()
    drivers = [BatchDriver(bank.engine, worker=f"driver {n}") for n in range(DRIVERS)]

    def work(driver: BatchDriver) -> None:
        while True:
            last = submitted.is_set()
            driver.drive()
            if last and not unclaimed(bank):
                return

    with ThreadPoolExecutor(DRIVERS) as pool:
        try:
            working = [pool.submit(work, driver) for driver in drivers]

            def finish() -> list[BatchDriver]:
                submitted.set()
                for one in working:
                    one.result(TIMEOUT_S)
                return drivers

            yield finish
        finally:
            submitted.set()


def unclaimed(bank: Bank) -> bool:
    with autocommit(bank.engine) as connection:
        query = "SELECT EXISTS (SELECT FROM unfinished WHERE batch_id IS NULL)"
        return bool(connection.execute(text(query)).scalar_one())


def no_deadlocks(drivers: list[BatchDriver]) -> None:
    assert not [error for driver in drivers for error in driver.errors]
    assert not [error for driver in drivers for error in driver.retried if "40P01" in str(error)]


def submit(bank: Bank, requests: list[TransferRequest], *, size: int) -> None:
    for start in range(0, len(requests), size):
        bank.accept(*requests[start : start + size])


def test_a_thousand_transfers_each_way_at_once_net_to_zero(bank: Bank) -> None:
    a, b = bank.wallet(1_000), bank.wallet(1_000)
    ways = [[bank.request(one, two, 1) for _ in range(1_000)] for one, two in ((a, b), (b, a))]
    with drivers_at_work(bank) as finish, ThreadPoolExecutor(4) as clients:
        halves = [way[start:end] for way in ways for start, end in ((0, 500), (500, 1_000))]
        list(clients.map(lambda half: submit(bank, half, size=20), halves))
        no_deadlocks(finish())
    assert bank.unfinished() == 0
    assert [bank.look(wallet).balance for wallet in (a, b)] == [1_000, 1_000]
    with autocommit(bank.engine) as connection:
        ended = connection.execute(text("SELECT state, count(*) FROM outcomes GROUP BY 1")).all()
    assert [tuple(row) for row in ended] == [("committed", 2_000 + 2)]
    bank.audit()


@pytest.mark.parametrize("seed", [1, 2])
def test_random_transfers_never_show_a_wrong_total_or_a_negative_balance(
    bank: Bank, seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test, not a secret
    held = [bank.wallet(150) for _ in range(8)]
    requests = []
    for _ in range(1_000):
        one, two = rng.sample(held, 2)
        requests.append(bank.request(one, two, rng.randrange(1, 40)))
    done = threading.Event()

    def look() -> int:
        looks = 0
        while not done.is_set():
            bank.audit()
            looks += 1
        return looks

    with ThreadPoolExecutor(5) as pool:
        auditing: Future[int] = pool.submit(look)
        try:
            with drivers_at_work(bank) as finish:
                list(pool.map(lambda n: submit(bank, requests[n::4], size=15), range(4)))
                no_deadlocks(finish())
        finally:
            done.set()
        assert auditing.result(TIMEOUT_S) > 3
    assert bank.unfinished() == 0
    assert sum(bank.look(wallet).available for wallet in held) == 8 * 150
    with autocommit(bank.engine) as connection:
        rows = connection.execute(text("SELECT state, count(*) AS n FROM outcomes GROUP BY 1"))
        ended = {row.state: row.n for row in rows}
    assert ended["committed"] > 300
    assert ended["rejected"] > 5, "some were more than their source had left"
    bank.audit()


def test_batches_that_touch_the_same_wallets_in_opposite_orders_do_not_deadlock(
    bank: Bank,
) -> None:
    held = [bank.wallet(10_000) for _ in range(40)]
    outside = bank.external["USD"]
    rounds = 12
    start = threading.Barrier(2)

    def drive(mine: list[UUID]) -> list[BatchDriver]:
        driver = BatchDriver(bank.engine)
        for batch in mine:
            start.wait(10)
            driver.drive("reserved", batch)
        return [driver]

    def batches(order: list[Wallet]) -> list[UUID]:
        return [
            bank.reach("reserved", *(bank.request(wallet, outside, 1) for wallet in order))
            for _ in range(rounds)
        ]

    both = batches(held), batches(held[::-1])
    with ThreadPoolExecutor(2) as pool:
        for drivers in pool.map(drive, both):
            no_deadlocks(drivers)
    assert bank.unfinished() == 0
    assert {bank.look(wallet).balance for wallet in held} == {10_000 - 2 * rounds}
    bank.audit()


def stepping(step: StepName, batch: UUID) -> Callable[[Connection], Progress]:
    return lambda connection: steps.run_step(connection, step, batch, worker="test")


def freezing(wallet: Wallet) -> Callable[[Connection], Wallet]:
    return lambda connection: wallets.freeze(connection, wallet.id)


def closing(wallet: Wallet) -> Callable[[Connection], Wallet]:
    return lambda connection: wallets.close(connection, wallet.id)


def rolling_back(batch: UUID) -> Callable[[Connection], int]:
    return lambda connection: steps.roll_back(connection, batch)


def fail(bank: Bank) -> None:
    with transaction(bank.engine) as connection:
        connection.execute(
            text("UPDATE unfinished SET failure_code = 'rolled_back', failure_detail = 'Test.'")
        )


@pytest.mark.parametrize("step", [step for step, _, _ in STEPS])
def test_of_two_copies_of_a_step_at_once_the_second_finds_nothing_to_do(
    bank: Bank, step: StepName
) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    start = next(start for name, start, _ in STEPS if name == step)
    batch = bank.reach(start, *(bank.request(source, destination, 1) for _ in range(10)))
    one, two = second_waits_for_first(bank.engine, stepping(step, batch), stepping(step, batch))
    assert (one.moved, two.moved) == (10, 0)
    BatchDriver(bank.engine).drive("reserved", batch)
    assert bank.look(destination).available == 10
    bank.audit()


def test_a_second_copy_of_a_reserve_claims_nothing_while_the_first_is_under_way(
    bank: Bank,
) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    bank.accept(bank.request(source, destination, 1))
    batch, later = new_id(), []

    def reserve(connection: Connection) -> Progress:
        progress = stepping("reserve", batch)(connection)
        later.extend(bank.accept(bank.request(source, destination, 1)))
        return progress

    one, two = second_waits_for_first(bank.engine, reserve, stepping("reserve", batch))
    assert (one.moved, two.moved) == (1, 0)
    assert bank.state(later[0]) == "accepted"
    bank.audit()


def test_a_deduct_that_overtakes_its_reserve_waits_for_it(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    bank.accept(bank.request(source, destination, 1))
    batch = new_id()
    one, two = second_waits_for_first(
        bank.engine, stepping("reserve", batch), stepping("deduct", batch)
    )
    assert (one.moved, two.moved) == (1, 1)
    bank.audit()


def test_a_reserve_that_meets_its_deduct_does_not_move_anything_again(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    batch = bank.reach("reserved", bank.request(source, destination, 1))
    one, two = second_waits_for_first(
        bank.engine, stepping("deduct", batch), stepping("reserve", batch)
    )
    assert (one.moved, two.moved) == (1, 0)
    bank.audit()


def test_a_source_that_is_being_frozen_gives_nothing_any_more(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    [transfer] = bank.accept(bank.request(source, destination, 1))
    _, progress = second_waits_for_first(
        bank.engine, freezing(source), stepping("reserve", new_id())
    )
    assert progress.moved == 0
    assert bank.state(transfer) == "rejected"
    bank.audit()


def test_a_freeze_waits_for_a_reserve_which_then_goes_on(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    [transfer] = bank.accept(bank.request(source, destination, 1))
    batch = new_id()
    second_waits_for_first(bank.engine, stepping("reserve", batch), freezing(source))
    BatchDriver(bank.engine).drive("reserved", batch)
    assert bank.state(transfer) == "committed"
    bank.audit()


@pytest.mark.parametrize(("step", "reached"), [("credit", "deducted"), ("commit", "credited")])
def test_a_destination_that_is_being_frozen_takes_nothing_any_more(
    bank: Bank, step: StepName, reached: str
) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    batch = bank.reach(reached, bank.request(source, destination, 1))
    _, progress = second_waits_for_first(bank.engine, freezing(destination), stepping(step, batch))
    assert progress == Progress(failed=1)
    assert bank.roll_back(batch) == 1
    assert bank.look(source).available == 100
    bank.audit()


def test_a_freeze_waits_for_a_commit_which_then_stays(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    batch = bank.reach("credited", bank.request(source, destination, 1))
    second_waits_for_first(bank.engine, stepping("commit", batch), freezing(destination))
    assert bank.look(destination).available == 1
    assert bank.unfinished() == 0
    bank.audit()


def test_a_wallet_that_is_being_closed_gives_nothing_any_more(bank: Bank) -> None:
    outside, destination = bank.wallet(kind="external", owner=bank.admin), bank.wallet()
    [transfer] = bank.accept(bank.request(outside, destination, 5, client=bank.admin))
    closed, progress = second_waits_for_first(
        bank.engine, closing(outside), stepping("reserve", new_id())
    )
    assert (closed.status, progress.moved) == ("closed", 0)
    assert bank.state(transfer) == "rejected"
    bank.audit()


def test_a_wallet_from_which_money_is_being_reserved_does_not_close(bank: Bank) -> None:
    outside, destination = bank.wallet(kind="external", owner=bank.admin), bank.wallet()
    bank.accept(bank.request(outside, destination, 5, client=bank.admin))
    with pytest.raises(InvalidState):
        second_waits_for_first(bank.engine, stepping("reserve", new_id()), closing(outside))
    assert bank.look(outside).status == "active"
    bank.audit()


def test_a_wallet_from_which_money_is_being_deducted_does_not_close(bank: Bank) -> None:
    source, destination = bank.wallet(5), bank.wallet()
    batch = bank.reach("reserved", bank.request(source, destination, 5))
    with pytest.raises(InvalidState, match="not finished"):
        second_waits_for_first(bank.engine, stepping("deduct", batch), closing(source))
    bank.audit()


def test_a_destination_that_is_being_closed_takes_nothing_any_more(bank: Bank) -> None:
    source, destination = bank.wallet(5), bank.wallet()
    batch = bank.reach("deducted", bank.request(source, destination, 5))
    _, progress = second_waits_for_first(
        bank.engine, closing(destination), stepping("credit", batch)
    )
    assert progress == Progress(failed=1)
    assert bank.roll_back(batch) == 1
    assert bank.look(source).available == 5
    bank.audit()


@pytest.mark.parametrize("step", ["deduct", "credit", "commit"])
def test_a_rollback_and_a_step_of_one_batch_wait_for_each_other(bank: Bank, step: StepName) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    start = next(start for name, start, _ in STEPS if name == step)
    for first_is_step in (True, False):
        batch = bank.reach(start, bank.request(source, destination, 1))
        fail(bank)
        bank.accept(bank.request(source, destination, 2))
        with transaction(bank.engine) as connection:
            steps.run_step(connection, "reserve", other := new_id(), worker="test")
        for name, begins, _ in STEPS[1:]:
            if begins == start:
                break
            bank.step(name, other)
        with transaction(bank.engine) as connection:
            connection.execute(
                text("UPDATE unfinished SET batch_id = :batch WHERE batch_id = :other"),
                {"batch": batch, "other": other},
            )
        move, undo = stepping(step, batch), rolling_back(batch)
        if first_is_step:
            progress, undone = second_waits_for_first(bank.engine, move, undo)
        else:
            undone, progress = second_waits_for_first(bank.engine, undo, move)
        assert (progress.moved, undone) == (1, 1)
        bank.audit()
        BatchDriver(bank.engine).drive("reserved", batch)
    assert bank.look(destination).available == 4
    bank.audit()


def test_two_rollbacks_at_once_refund_once(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    batch = bank.reach("credited", bank.request(source, destination, 30))
    fail(bank)
    assert second_waits_for_first(bank.engine, rolling_back(batch), rolling_back(batch)) == (1, 0)
    assert bank.look(source).available == 100
    bank.audit()


def test_batches_without_a_wallet_in_common_do_not_wait_for_each_other(bank: Bank) -> None:
    pairs = [(bank.wallet(10), bank.wallet()) for _ in range(2)]
    one, two = (bank.reach("reserved", bank.request(a, b, 1)) for a, b in pairs)
    with transaction(bank.engine) as connection:
        connection.execute(text("UPDATE unfinished SET state = 'accepted', reserved_at = NULL"))
        connection.execute(text("UPDATE wallets SET reserved = 0"))
    first, second = both_at_once(bank.engine, stepping("reserve", one), stepping("reserve", two))
    assert (first.moved, second.moved) == (1, 1)
    bank.audit()


def test_an_intake_does_not_wait_for_the_steps_on_its_wallets(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    batch = bank.reach("reserved", bank.request(source, destination, 1))
    request = bank.request(source, destination, 2)
    with transaction(bank.engine) as connection:
        stepping("deduct", batch)(connection)
        [transfer] = bank.accept(request)
    assert bank.state(transfer) == "accepted"


def test_two_batches_on_one_wallet_read_it_one_after_the_other(bank: Bank) -> None:
    """The second must see the balance after the first, not the one from before it waited."""
    source, destination = bank.wallet(100), bank.wallet()
    one, two = (bank.reach("reserved", bank.request(source, destination, n)) for n in (10, 20))
    second_waits_for_first(bank.engine, stepping("deduct", one), stepping("deduct", two))
    with meanwhile(bank.engine, stepping("credit", two)) as start:
        with transaction(bank.engine) as connection:
            stepping("credit", one)(connection)
            running = start()
            wait_until_blocked(bank.engine, unless=running)
        assert running.result(TIMEOUT_S).moved == 1
    bank.audit()
    lines = sorted_lines(bank.engine)
    assert lines == [("deduct", 90, 10), ("deduct", 70, 30), ("credit", 20, 10), ("credit", 0, 30)]


def sorted_lines(engine: Engine) -> list[tuple[str, int, int]]:
    query = """SELECT leg, debit_balance_after, credit_balance_after FROM postings
               WHERE amount < 100 ORDER BY seq"""
    with autocommit(engine) as connection:
        return [(leg, int(one), int(two)) for leg, one, two in connection.execute(text(query))]
