"""Recovery scan: stuck transfers are re-driven, and a late or second worker does no harm."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from ledger import recovery, steps
from ledger.ids import new_id
from ledger.postgres.database import transaction
from ledger.recovery import NOTED_REDRIVES, REDRIVE_LIMIT, Redrive, redrive_stuck
from ledger.reserve import CLAIM_LIMIT, claim
from ledger.states import STEPS
from ledger.wallets import Wallet
from testing.bank import Bank
from testing.batch_driver import BatchDriver
from testing.concurrent_transactions import both_at_once, second_waits_for_first


def scan(bank: Bank, *, stuck_after_s: float = 0.0) -> list[Redrive]:
    with transaction(bank.engine) as connection:
        return redrive_stuck(connection, stuck_after_s=stuck_after_s, worker="scan")


def scanning(connection: Connection) -> list[Redrive]:
    return redrive_stuck(connection, stuck_after_s=0.0, worker="scan")


def waiting(bank: Bank, waiting_s: float) -> bool:
    with transaction(bank.engine) as connection:
        return recovery.is_waiting(connection, waiting_s=waiting_s)


def shift(bank: Bank, seconds: float) -> None:
    """Move the times back, as if this much time had passed since each last movement."""
    with transaction(bank.engine) as connection:
        connection.execute(
            text("UPDATE unfinished SET moved_at = moved_at - make_interval(secs => :s)"),
            {"s": seconds},
        )


def stepping(step: str, batch: UUID) -> Callable[[Connection], steps.Progress]:
    return lambda connection: steps.run_step(connection, step, batch, worker="test")  # type: ignore[arg-type]


@pytest.mark.parametrize("state", ["reserved", "deducted", "credited"])
def test_a_transfer_is_stuck_once_it_has_not_moved_for_the_time(
    bank: Bank, source: Wallet, destination: Wallet, state: str
) -> None:
    batch = bank.reach(state, bank.request(source, destination, 1))
    shift(bank, 9)
    assert scan(bank, stuck_after_s=10) == []
    shift(bank, 1)
    [redrive] = scan(bank, stuck_after_s=10)
    assert (redrive.state, redrive.failed, redrive.count) == (state, False, 1)
    assert redrive.batch_id != batch
    assert scan(bank, stuck_after_s=10) == [], "it has just been driven"
    shift(bank, 10)
    assert len(scan(bank, stuck_after_s=10)) == 1, "it was not driven after all"


def test_each_step_restarts_the_time(bank: Bank, source: Wallet, destination: Wallet) -> None:
    bank.accept(bank.request(source, destination, 1))
    batch = new_id()
    for step, _, _ in STEPS:
        shift(bank, 100)
        bank.step(step, batch)
        assert scan(bank, stuck_after_s=10) == []


def test_a_transfer_that_no_reserve_has_claimed_is_waiting_not_stuck(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    assert not waiting(bank, 0)
    [transfer] = bank.accept(bank.request(source, destination, 1))
    shift(bank, 10)
    assert scan(bank) == []
    assert waiting(bank, 10)
    assert not waiting(bank, 60)
    with transaction(bank.engine) as connection:
        claim(connection, new_id())
    assert not waiting(bank, 0)
    [redrive] = scan(bank)
    assert (redrive.state, redrive.count) == ("accepted", 1)
    BatchDriver(bank.engine).drive("accepted", redrive.batch_id)
    assert bank.state(transfer) == "committed"


@pytest.mark.parametrize("ahead_s", [0, 5_000])
def test_a_clock_that_was_set_back_does_not_keep_a_transfer_waiting(
    bank: Bank, source: Wallet, destination: Wallet, ahead_s: int
) -> None:
    """Times may then be in the future: the transfer's own, and those kept by its wallets."""
    batch = bank.reach("reserved", bank.request(source, destination, 1))
    with transaction(bank.engine) as connection:
        connection.execute(text("UPDATE wallets SET posted_at = now() + interval '3 hours'"))
    bank.step("deduct", batch)
    assert scan(bank, stuck_after_s=10) == []
    shift(bank, 11 - ahead_s)
    assert [redrive.state for redrive in scan(bank, stuck_after_s=10)] == ["deducted"]
    assert scan(bank, stuck_after_s=10) == []


def test_an_unclaimed_transfer_from_before_a_clock_was_set_back_is_waiting(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    bank.accept(bank.request(source, destination, 1))
    assert not waiting(bank, 10)
    shift(bank, -5_000)
    assert waiting(bank, 10)


def test_transfers_are_redriven_in_groups_of_one_state_and_one_outcome(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    for state, count in (("reserved", 3), ("deducted", 4), ("credited", 5)):
        for _ in range(2):
            bank.reach(state, *(bank.request(source, destination, 1) for _ in range(count)))
    with transaction(bank.engine) as connection:
        connection.execute(
            text("""UPDATE unfinished SET failure_code = 'rolled_back', failure_detail = 'Test.'
                    WHERE seq IN (SELECT min(seq) FROM unfinished GROUP BY state)""")
        )
    redrives = scan(bank)
    assert sorted((redrive.state, redrive.failed, redrive.count) for redrive in redrives) == [
        ("credited", False, 9),
        ("credited", True, 1),
        ("deducted", False, 7),
        ("deducted", True, 1),
        ("reserved", False, 5),
        ("reserved", True, 1),
    ]
    assert len({redrive.batch_id for redrive in redrives}) == 6
    driver = BatchDriver(bank.engine)
    assert len(driver.redrive()) == 6
    assert bank.unfinished() == 0
    assert bank.look(destination).available == 21
    bank.audit()


def test_a_scan_takes_the_longest_stuck_first_and_a_bounded_number(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    bank.accept(bank.request(source, destination, 1))
    more = REDRIVE_LIMIT + CLAIM_LIMIT // 2
    with transaction(bank.engine) as connection:
        connection.execute(  # many "reserved" rows, made quickly, without money behind them
            text("""INSERT INTO unfinished (transfer_id, source_id, transit_id, destination_id,
                        amount, state, batch_id, reserved_at, moved_at)
                    SELECT gen_random_uuid(), source_id, transit_id, destination_id, 1, 'reserved',
                        gen_random_uuid(), now(), now() - make_interval(secs => 100 + n)
                    FROM unfinished, generate_series(1, :more) n"""),
            {"more": more},
        )
    redrives = scan(bank, stuck_after_s=10)
    assert [redrive.count for redrive in redrives] == [CLAIM_LIMIT] * (REDRIVE_LIMIT // CLAIM_LIMIT)
    with transaction(bank.engine) as connection:
        query = "SELECT max(now() - moved_at) FROM unfinished WHERE redrives = 0"
        oldest_left = connection.execute(text(query)).scalar_one()
    assert oldest_left.total_seconds() < 100 + more - REDRIVE_LIMIT + 60
    assert [redrive.count for redrive in scan(bank, stuck_after_s=10)] == [CLAIM_LIMIT // 2]


def test_two_scans_at_once_take_different_transfers(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    bank.reach("deducted", *(bank.request(source, destination, 1) for _ in range(20)))
    one, two = both_at_once(bank.engine, scanning, scanning)
    assert [redrive.count for redrive in one] == [20]
    assert two == []


def test_transfers_locked_by_a_live_step_are_left_alone(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    held = bank.reach("reserved", bank.request(source, destination, 1))
    stuck = bank.reach("reserved", bank.request(source, destination, 2))
    progress, redrives = both_at_once(bank.engine, stepping("deduct", held), scanning)
    assert progress.moved == 1
    assert [redrive.count for redrive in redrives] == [1]
    for step in ("credit", "commit"):
        bank.step(step, held)
    assert bank.look(destination).balance == 1
    bank.step("deduct", stuck)
    assert bank.look(source).reserved == 2, "the old batch is empty"
    bank.audit()


def test_a_step_that_comes_while_a_scan_takes_its_transfers_finds_none(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    batch = bank.reach("reserved", bank.request(source, destination, 1))
    redrives, progress = second_waits_for_first(bank.engine, scanning, stepping("deduct", batch))
    assert progress == steps.Progress()
    BatchDriver(bank.engine).drive("reserved", redrives[0].batch_id)
    assert bank.look(destination).available == 1
    bank.audit()


@pytest.mark.parametrize("state", ["reserved", "deducted", "credited"])
def test_the_old_message_is_harmless_before_and_after_the_new_one(
    bank: Bank, source: Wallet, destination: Wallet, state: str
) -> None:
    old = bank.reach(state, *(bank.request(source, destination, 1) for _ in range(5)))
    [redrive] = scan(bank)
    driver = BatchDriver(bank.engine)
    driver.drive(redrive.state, old)
    driver.roll_back(old)
    assert bank.unfinished() == 5
    driver.drive(redrive.state, redrive.batch_id)
    driver.drive(redrive.state, old)
    driver.drive(redrive.state, redrive.batch_id)
    driver.roll_back(old)
    assert bank.look(destination).available == 5
    assert bank.unfinished() == 0
    bank.audit()


def test_a_timeline_shows_only_so_many_redrives(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    bank.reach("reserved", bank.request(source, destination, 1))
    for _ in range(NOTED_REDRIVES + 5):
        assert len(scan(bank)) == 1
    with transaction(bank.engine) as connection:
        [transfer] = connection.scalars(text("SELECT transfer_id FROM unfinished"))
        noted = connection.execute(
            text("SELECT attempt, worker FROM events WHERE event = 'redriven' ORDER BY id")
        ).all()
        redrives = connection.scalar(text("SELECT redrives FROM unfinished"))
    assert [tuple(row) for row in noted] == [(n, "scan") for n in range(1, NOTED_REDRIVES + 1)]
    assert redrives == NOTED_REDRIVES + 5
    assert bank.timeline(transfer).count("redriven") == NOTED_REDRIVES


@pytest.mark.parametrize("crash_after", range(len(STEPS) + 1))
def test_a_chain_that_breaks_off_after_any_step_is_finished_by_the_scan(
    bank: Bank, source: Wallet, destination: Wallet, crash_after: int
) -> None:
    bank.accept(*(bank.request(source, destination, 1) for _ in range(3)))
    batch = new_id()
    for step, _, _ in STEPS[:crash_after]:
        bank.step(step, batch)
    driver = BatchDriver(bank.engine)
    driver.redrive()
    if waiting(bank, 0):
        driver.drive()
    assert bank.unfinished() == 0
    assert bank.look(destination).available == 3
    bank.audit()


@pytest.mark.parametrize("done", [*(step for step, _, _ in STEPS), "roll_back"])
def test_a_step_whose_transaction_dies_has_done_nothing(
    bank: Bank, source: Wallet, destination: Wallet, done: str
) -> None:
    start = next((start for step, start, _ in STEPS if step == done), "credited")
    batch = bank.reach(start, bank.request(source, destination, 1))
    if done == "roll_back":
        with transaction(bank.engine) as connection:
            connection.execute(
                text("UPDATE unfinished SET failure_code = 'rolled_back', failure_detail = 'T.'")
            )
    before = snapshot(bank)
    with bank.engine.connect() as connection:  # dies with everything done and nothing committed
        if done == "roll_back":
            assert steps.roll_back(connection, batch) == 1
        else:
            assert stepping(done, batch)(connection).moved == 1
        connection.invalidate()
    assert snapshot(bank) == before
    bank.audit()


def snapshot(bank: Bank) -> list[list[object]]:
    with transaction(bank.engine) as connection:
        return [
            list(connection.scalars(text(f"SELECT to_jsonb(r) FROM {table} r ORDER BY 1")))  # noqa: S608 - our own words
            for table in ("wallets", "unfinished", "outcomes", "postings", "events")
        ]
