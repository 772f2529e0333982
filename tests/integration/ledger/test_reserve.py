"""Reserve: which transfers a batch claims, and which are rejected for lack of funds."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from ledger import steps, wallets
from ledger.ids import new_id
from ledger.postgres.database import transaction
from ledger.reserve import CLAIM_LIMIT, claim, take
from ledger.steps import Progress
from testing.bank import Bank
from testing.concurrent_transactions import both_at_once, second_waits_for_first


def test_what_waited_longest_is_claimed_first_and_up_to_the_limit(bank: Bank) -> None:
    source, destination = bank.wallet(10_000), bank.wallet()
    made = []
    for _ in range(3):
        made += bank.accept(*(bank.request(source, destination, 1) for _ in range(700)))
    batches = [new_id() for _ in range(4)]
    assert [bank.step("reserve", batch) for batch in batches] == [
        Progress(moved=CLAIM_LIMIT, left=True, more=True),
        Progress(moved=CLAIM_LIMIT, left=True, more=True),
        Progress(moved=100, left=True),
        Progress(),
    ]
    assert members(bank, batches[0]) == made[:CLAIM_LIMIT]
    assert members(bank, batches[1]) == made[CLAIM_LIMIT : 2 * CLAIM_LIMIT]
    assert members(bank, batches[2]) == made[2 * CLAIM_LIMIT :]
    assert bank.look(source).reserved == 2_100
    bank.audit()


PLANS = ["hashjoin", "hashagg", "mergejoin", "sort", "material", "memoize", "nestloop", "seqscan"]


@pytest.mark.parametrize("off", [PLANS[:0], PLANS[:1], PLANS[:3], PLANS[:6], PLANS[6:7], PLANS[7:]])
def test_the_limit_holds_whatever_plan_the_database_chooses(
    shared_bank: Bank, off: list[str]
) -> None:
    # With slightly old statistics it may choose any of these plans.
    bank = shared_bank
    source, destination = bank.wallet(10_000), bank.wallet()
    bank.accept(*(bank.request(source, destination, 1) for _ in range(CLAIM_LIMIT + 500)))
    for way_to_claim in (claim, take):
        with bank.engine.connect() as connection:  # never committed
            for way in off:
                connection.execute(text(f"SET LOCAL enable_{way} = off"))
            assert way_to_claim(connection, new_id()) == CLAIM_LIMIT
    bank.settle()


def test_a_batch_that_is_exactly_full_asks_for_another_reserve(bank: Bank) -> None:
    source, destination = bank.wallet(CLAIM_LIMIT), bank.wallet()
    bank.accept(*(bank.request(source, destination, 1) for _ in range(CLAIM_LIMIT)))
    assert bank.step("reserve", new_id()).more
    assert bank.step("reserve", new_id()) == Progress()


def test_two_reserves_at_once_claim_different_transfers(bank: Bank) -> None:
    sources = [bank.wallet(2_000), bank.wallet(2_000)]
    destination = bank.wallet()
    # The first thousand leaves from one wallet and the second from the other, so that the
    # second reserve need not wait for the first one's wallet.
    made = bank.accept(
        *(bank.request(source, destination, 1) for source in sources for _ in range(CLAIM_LIMIT))
    )
    batches = new_id(), new_id()
    one, two = both_at_once(bank.engine, *map(reserving, batches))
    assert (one.moved, two.moved) == (CLAIM_LIMIT, CLAIM_LIMIT)
    assert members(bank, batches[0]) == made[:CLAIM_LIMIT]
    assert members(bank, batches[1]) == made[CLAIM_LIMIT:]
    bank.audit()


def test_a_second_reserve_waits_for_a_wallet_and_then_sees_what_the_first_left(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    asked = [bank.request(source, destination, 60)]
    [first] = bank.accept(*asked)
    batches = new_id(), new_id()
    second: list[UUID] = []

    def take_the_first(connection: Connection) -> Progress:
        progress = reserving(batches[0])(connection)
        second.extend(bank.accept(bank.request(source, destination, 70)))
        return progress

    one, two = second_waits_for_first(bank.engine, take_the_first, reserving(batches[1]))
    assert (one.moved, two.moved) == (1, 0)
    assert (bank.state(first), bank.state(second[0])) == ("reserved", "rejected")
    assert bank.look(source).available == 40
    bank.audit()


@pytest.mark.parametrize(
    ("funds", "amounts", "refused"),
    [
        (10, (4, 4, 4), [2]),
        (10, (4, 7, 6), [1]),
        (10, (4, 7, 5, 2, 1), [1, 3]),
        (10, (3, 8, 8, 7, 1), [1, 2, 4]),
        (10, (10, 1, 1, 1), [1, 2, 3]),
        (10, (5, 5), []),
    ],
)
def test_transfers_without_funds_are_rejected_in_order_of_acceptance(
    shared_bank: Bank, funds: int, amounts: tuple[int, ...], refused: list[int]
) -> None:
    bank = shared_bank
    source, destination = bank.wallet(funds), bank.wallet()
    made = bank.accept(*(bank.request(source, destination, amount) for amount in amounts))
    batch = new_id()
    progress = bank.step("reserve", batch)
    expected = ["rejected" if n in refused else "reserved" for n in range(len(amounts))]
    assert [bank.state(id) for id in made] == expected
    assert progress == Progress(moved=len(amounts) - len(refused), left=True)
    for number in refused:
        failure = bank.transfer(made[number]).failure
        assert failure is not None
        assert failure.code == "insufficient_funds"
        assert bank.timeline(made[number]) == ["accepted", "rejected"]
    for step in ("deduct", "credit", "commit"):
        bank.step(step, batch)
    assert bank.look(destination).balance == sum(amounts) - sum(amounts[n] for n in refused)
    bank.audit()


def test_a_batch_of_which_all_are_refused_ends_at_once(bank: Bank) -> None:
    source, destination = bank.wallet(10), bank.wallet()
    made = bank.accept(*(bank.request(source, destination, 10) for _ in range(3)))
    with transaction(bank.engine) as connection:
        wallets.freeze(connection, source.id)
    assert bank.step("reserve", new_id()) == Progress()
    assert {bank.state(id) for id in made} == {"rejected"}
    assert bank.unfinished() == 0
    bank.audit()


@pytest.mark.parametrize("frozen", ["source", "destination"])
def test_a_wallet_frozen_after_acceptance_refuses_its_transfers_alone(
    shared_bank: Bank, frozen: str
) -> None:
    bank = shared_bank
    a, b, c, d = (bank.wallet(100) for _ in range(4))
    [hit, spared] = bank.accept(bank.request(a, b, 1), bank.request(c, d, 1))
    with transaction(bank.engine) as connection:
        wallets.freeze(connection, (a if frozen == "source" else b).id)
    batch = new_id()
    assert bank.step("reserve", batch) == Progress(moved=1, left=True)
    assert (bank.state(hit), bank.state(spared)) == ("rejected", "reserved")
    failure = bank.transfer(hit).failure
    assert failure is not None
    assert (failure.code, failure.detail) == ("wallet_frozen", f"The {frozen} wallet is frozen.")
    for step in ("deduct", "credit", "commit"):
        bank.step(step, batch)
    bank.audit()


def test_a_reserve_that_is_delivered_again_claims_nothing_new(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    batch = bank.reach("reserved", bank.request(source, destination, 10))
    [later] = bank.accept(bank.request(source, destination, 10))
    for step in ("reserve", "deduct", "reserve", "credit", "reserve"):
        bank.step(step, batch)
        assert bank.state(later) == "accepted"
        assert members(bank, batch) != [later]
    assert bank.look(source).reserved == 0
    bank.audit()


def test_a_batch_with_reserved_rows_is_not_reserved_again_even_if_accepted_ones_join_it(
    bank: Bank,
) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    batch = bank.reach("reserved", bank.request(source, destination, 10))
    [stray] = bank.accept(bank.request(source, destination, 20))
    with transaction(bank.engine) as connection:
        connection.execute(
            text("UPDATE unfinished SET batch_id = :batch WHERE transfer_id = :id"),
            {"batch": batch, "id": stray},
        )
    assert bank.step("reserve", batch) == Progress(left=True)
    assert bank.look(source).reserved == 10
    assert bank.state(stray) == "accepted"
    bank.audit()


def test_a_batch_that_was_claimed_but_not_reserved_is_reserved_whole(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    made = bank.accept(*(bank.request(source, destination, 60) for _ in range(2)))
    with transaction(bank.engine) as connection:
        assert claim(connection, batch := new_id()) == 2
        assert claim(connection, batch) == 0
    [later] = bank.accept(bank.request(source, destination, 1))
    assert bank.step("reserve", batch) == Progress(moved=1, left=True)
    assert [bank.state(id) for id in (*made, later)] == ["reserved", "rejected", "accepted"]
    bank.audit()


def reserving(batch: UUID) -> Callable[[Connection], Progress]:
    return lambda connection: steps.run_step(connection, "reserve", batch, worker="test")


def members(bank: Bank, batch: UUID) -> list[UUID]:
    with transaction(bank.engine) as connection:
        query = text("SELECT transfer_id FROM unfinished WHERE batch_id = :batch ORDER BY seq")
        return list(connection.scalars(query, {"batch": batch}))
