"""Blocked wallets: what touches a wallet that is locked for long waits, and all else goes on."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from ledger import blocked, steps, wallets
from ledger.buffer import replaying
from ledger.buffer.entries import Buffered
from ledger.errors import LockTimeout
from ledger.ids import new_id
from ledger.postgres.database import autocommit, transaction
from ledger.states import STEPS, StepName
from ledger.wallets import Wallet
from testing.bank import Bank
from testing.batch_driver import BatchDriver
from testing.concurrent_transactions import TIMEOUT_S
from testing.wallet_lock import RowLock, locked

STEP_NAMES: tuple[StepName, ...] = tuple(step for step, _, _ in STEPS)


def blocked_wallets(bank: Bank) -> set[object]:
    with autocommit(bank.engine) as connection:
        return set(connection.scalars(text("SELECT wallet_id FROM blocked_wallets")))


def transit(bank: Bank, asset: str) -> Wallet:
    query = text("SELECT id FROM wallets WHERE kind = 'transit' AND asset = :asset")
    with autocommit(bank.engine) as connection:
        id = connection.execute(query, {"asset": asset}).scalar_one()
        return wallets.get_wallet(connection, id, caller=bank.admin)


@pytest.mark.parametrize("lock", ["NO KEY UPDATE", "UPDATE"])
@pytest.mark.parametrize("step", STEP_NAMES)
def test_a_step_goes_on_without_the_transfers_of_a_locked_wallet(
    bank: Bank, step: StepName, lock: RowLock
) -> None:
    start = next(start for name, start, _ in STEPS if name == step)
    pairs = [(bank.wallet(100), bank.wallet()) for _ in range(3)]
    batch = bank.reach(start, *(bank.request(*pair, 10) for pair in pairs))
    with autocommit(bank.engine) as connection:
        query = text("SELECT transfer_id FROM unfinished ORDER BY seq")
        stuck, *others = connection.scalars(query).all()
    source, destination = pairs[0]
    wallet = source if step in ("reserve", "deduct") else destination
    driver = BatchDriver(bank.engine)

    with locked(bank.engine, wallet, lock=lock):
        driver.drive(start, None if step == "reserve" else batch)
        assert bank.states(others) == {"committed"}
        assert bank.state(stuck) == start
        assert bank.timeline(stuck)[-1] == "set_aside"
        assert len(driver.retried) == 1
        assert blocked_wallets(bank) == {wallet.id}
        assert driver.redrive() == []  # not while it is locked, however long that takes

    [redrive] = driver.redrive(stuck_after_s=60.0)  # at once, it need not be stuck for that
    assert redrive.count == 1
    assert bank.state(stuck) == "committed"
    assert not blocked_wallets(bank)
    bank.audit()


@pytest.mark.parametrize("role", ["source", "destination"])
def test_a_rollback_goes_on_without_the_transfers_of_a_locked_wallet(bank: Bank, role: str) -> None:
    pairs = [(bank.wallet(100), bank.wallet()) for _ in range(2)]
    batch = bank.reach("credited", *(bank.request(*pair, 10) for pair in pairs))
    with transaction(bank.engine) as connection:
        for _, destination in pairs:
            wallets.freeze(connection, destination.id)
    assert bank.step("commit", batch).failed == 2
    wallet = pairs[0][0 if role == "source" else 1]

    with locked(bank.engine, wallet):
        with pytest.raises(LockTimeout):
            bank.roll_back(batch)
        with transaction(bank.engine) as connection:
            assert steps.find_blocked(connection, "rollback", batch) == [wallet.id]
        assert bank.roll_back(batch) == 1
        assert [bank.look(source).balance for source, _ in pairs] == [90, 100]

    BatchDriver(bank.engine).redrive(stuck_after_s=60.0)
    assert bank.unfinished() == 0
    assert [bank.look(source).balance for source, _ in pairs] == [100, 100]
    bank.audit()


def test_what_comes_later_for_a_blocked_wallet_waits_without_holding_up_the_others(
    bank: Bank,
) -> None:
    source, other, destination = bank.wallet(100), bank.wallet(100), bank.wallet()
    driver = BatchDriver(bank.engine)
    with locked(bank.engine, source):
        stuck = bank.accept(bank.request(source, destination, 1))
        driver.drive()
        for _ in range(3):
            stuck += bank.accept(bank.request(source, destination, 1))
            others = bank.accept(bank.request(other, destination, 1))
            driver.drive()
            assert bank.states(others) == {"committed"}
        assert len(driver.retried) == 1  # only the first batch waited for the wallet
    assert sum(redrive.count for redrive in driver.redrive(stuck_after_s=60.0)) == len(stuck)
    assert bank.states(stuck) == {"committed"}
    bank.audit()


def test_a_full_claim_of_blocked_transfers_asks_for_the_next_claim(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "CLAIM_LIMIT", 3)
    source, destination = bank.wallet(100), bank.wallet()
    bank.accept(*(bank.request(source, destination, 1) for _ in range(3)))
    with locked(bank.engine, source):
        batch = new_id()
        with transaction(bank.engine) as connection:
            steps.find_blocked(connection, "reserve", batch)
        with transaction(bank.engine) as connection:
            connection.execute(text("UPDATE unfinished SET batch_id = NULL"))
        progress = bank.step("reserve", new_id())
    assert (progress.set_aside, progress.moved, progress.more) == (3, 0, True)


def test_the_transfers_of_other_assets_go_on_without_a_transit_wallet_that_is_locked(
    bank: Bank,
) -> None:
    dollars, euros = bank.wallet(100), bank.wallet(100, asset="EUR")
    stuck = bank.accept(bank.request(dollars, bank.wallet(), 1))
    others = bank.accept(bank.request(euros, bank.wallet(asset="EUR"), 1))
    driver = BatchDriver(bank.engine)
    with locked(bank.engine, transit(bank, "USD")):
        driver.drive()
        assert bank.states(others) == {"committed"}
    driver.redrive(stuck_after_s=60.0)
    assert bank.states(stuck) == {"committed"}
    bank.audit()


def test_many_locked_wallets_are_found_within_a_bound(bank: Bank) -> None:
    sources, destination = [bank.wallet(100) for _ in range(40)], bank.wallet()
    bank.accept(*(bank.request(source, destination, 1) for source in sources))
    batch = new_id()
    with locked(bank.engine, *sources):
        began_s = time.monotonic()
        with transaction(bank.engine) as connection:
            found = steps.find_blocked(connection, "reserve", batch)
        assert time.monotonic() - began_s < blocked.PROBES_WAIT_S + blocked.PROBE_WAIT_S + 2
    assert set(found) == {source.id for source in sources}


def test_a_wallet_that_is_locked_for_a_moment_is_not_blocked(bank: Bank) -> None:
    source, other, destination = bank.wallet(100), bank.wallet(100), bank.wallet()
    requests = [bank.request(each, destination, 1) for each in (source, other)]
    batch = bank.reach("reserved", *requests)
    is_held = threading.Event()

    def hold_for_a_moment() -> None:
        with locked(bank.engine, transit(bank, "USD"), other):
            is_held.set()
            time.sleep(0.2)

    holder = threading.Thread(target=hold_for_a_moment)
    with locked(bank.engine, source):
        holder.start()
        is_held.wait()
        with transaction(bank.engine) as connection:
            assert steps.find_blocked(connection, "deduct", batch) == [source.id]
        holder.join()


def test_a_search_holds_no_wallet(bank: Bank) -> None:
    source, other, destination = bank.wallet(100), bank.wallet(100), bank.wallet()
    bank.accept(*(bank.request(each, destination, 1) for each in (source, other)))
    with locked(bank.engine, source), transaction(bank.engine) as connection:
        steps.find_blocked(connection, "reserve", new_id())
        with transaction(bank.engine) as another:
            lock = text("SELECT FROM wallets WHERE id = :id FOR UPDATE NOWAIT")
            another.execute(lock, {"id": other.id})


def test_accepting_and_replaying_wait_for_no_wallet(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet(100)
    requests = [bank.request(source, destination, 1) for _ in range(2)]
    with locked(bank.engine, source, destination, lock="UPDATE"):
        with transaction(bank.engine) as connection:
            connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            done, _ = replaying.replay(connection, [Buffered(requests[0], datetime.now(UTC))])
            assert done.accepted == 1
        ids = bank.accept(requests[1])
    bank.settle()
    assert bank.states(ids) == {"committed"}


def test_a_wallet_that_many_steps_use_in_turn_is_not_blocked(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    batch = bank.reach("reserved", bank.request(source, destination, 1))
    in_turn = text("SELECT FROM wallets WHERE id = :id FOR NO KEY UPDATE")
    is_over = threading.Event()

    def use() -> None:
        while not is_over.is_set():
            with transaction(bank.engine) as connection:
                connection.execute(in_turn, {"id": source.id})
                time.sleep(0.07)

    with ThreadPoolExecutor(11) as threads:
        users = [threads.submit(use) for _ in range(11)]
        try:
            time.sleep(1)  # all of them queue for it now
            with transaction(bank.engine) as connection:
                assert steps.find_blocked(connection, "deduct", batch) == []
        finally:
            is_over.set()
        for each in users:
            each.result(TIMEOUT_S)
