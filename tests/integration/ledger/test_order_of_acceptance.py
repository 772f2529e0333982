"""Order of acceptance: a transfer waits for the money that earlier ones still bring."""

from __future__ import annotations

from uuid import UUID

from ledger import wallets
from ledger.acceptance import Acceptance
from ledger.ids import new_id
from ledger.postgres.database import transaction
from ledger.states import STEPS
from testing.bank import Bank


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
