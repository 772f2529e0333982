"""State machine of transfers on a real database."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from uuid import UUID

import pytest
from sqlalchemy import text

from ledger import steps, wallets
from ledger.errors import InvalidState, NotFound
from ledger.ids import new_id
from ledger.postgres.database import transaction
from ledger.states import STEPS
from ledger.wallets import Wallet
from testing.bank import Bank

FUNDS, AMOUNT, BEFORE = 1_000, 300, 50
"""Source balance, amount of the transfer, and destination balance before it."""

# fmt: off
STEP_NAMES =              ("reserve",  "deduct",   "credit",   "commit",    "roll_back")
MACHINE = {
    # before this step    and after it, where it changes anything
    "accepted":           ("reserved", "",         "",         "",          ""),
    "claimed":            ("reserved", "",         "",         "",          ""),
    "reserved":           ("",         "deducted", "",         "",          ""),
    "deducted":           ("",         "",         "credited", "",          ""),
    "credited":           ("",         "",         "",         "committed", ""),
    "claimed, failed":    ("",         "",         "",         "",          "rejected"),
    "reserved, failed":   ("",         "",         "",         "",          "rolled_back"),
    "deducted, failed":   ("",         "",         "",         "",          "rolled_back"),
    "credited, failed":   ("",         "",         "",         "",          "rolled_back"),
    "committed":          ("",         "",         "",         "",          ""),
    "rejected":           ("",         "",         "",         "",          ""),
    "rolled_back":        ("",         "",         "",         "",          ""),
}
HOLDINGS = {
    # state        source: balance, reserved, incoming · transit: balance · destination: the same
    "accepted":    ((1_000,   0, 0),    0, ( 50, 0,   0)),
    "claimed":     ((1_000,   0, 0),    0, ( 50, 0,   0)),
    "reserved":    ((1_000, 300, 0),    0, ( 50, 0,   0)),
    "deducted":    ((  700,   0, 0),  300, ( 50, 0,   0)),
    "credited":    ((  700,   0, 0),    0, (350, 0, 300)),
    "committed":   ((  700,   0, 0),    0, (350, 0,   0)),
    "rejected":    ((1_000,   0, 0),    0, ( 50, 0,   0)),
    "rolled_back": ((1_000,   0, 0),    0, ( 50, 0,   0)),
}
# fmt: on

CASES = [
    (before, step, after or before)
    for before, row in MACHINE.items()
    for step, after in zip(STEP_NAMES, row, strict=True)
]


@pytest.mark.parametrize(("before", "step", "after"), CASES)
def test_a_step_moves_a_transfer_only_from_the_state_before_it(
    shared_bank: Bank, before: str, step: str, after: str
) -> None:
    case = Case.brought_to(shared_bank, before)
    assert (case.standing(), case.holdings()) == (before, HOLDINGS[before.partition(",")[0]])
    rows = case.rows()
    case.run(step)
    assert (case.standing(), case.holdings()) == (after, HOLDINGS[after.partition(",")[0]])
    assert (case.rows() == rows) is (after == before), "where a step does not apply, nothing moves"
    shared_bank.audit()
    case.end()


@dataclass
class Case:
    """Make one transfer, alone in its batch."""

    bank: Bank
    source: Wallet
    destination: Wallet
    transfer: UUID
    batch: UUID

    @classmethod
    def brought_to(cls, bank: Bank, standing: str) -> Case:
        source, destination = bank.wallet(), bank.wallet()
        outside = bank.external.get("USD") or bank.wallet(kind="external", owner=bank.admin)
        bank.external["USD"] = outside
        bank.accept(
            bank.request(outside, source, FUNDS, client=bank.admin),
            bank.request(outside, destination, BEFORE, client=bank.admin),
        )
        bank.settle()
        [transfer] = bank.accept(bank.request(source, destination, AMOUNT))
        case = cls(bank, source, destination, transfer, new_id())
        state, _, failed = standing.partition(", ")
        match state:
            case "accepted":
                pass
            case "claimed" | "rejected":
                case._set("batch_id = :batch")
            case "rolled_back":
                bank.step("reserve", case.batch)
            case _:
                for step, _, end in STEPS:
                    bank.step(step, case.batch)
                    if end == state:
                        break
        if failed or state in ("rejected", "rolled_back"):
            case._set("failure_code = 'rolled_back', failure_detail = 'Decided by the test.'")
        if state in ("rejected", "rolled_back"):
            bank.roll_back(case.batch)
        return case

    def run(self, step: str) -> None:
        if step == "roll_back":
            self.bank.roll_back(self.batch)
        else:
            self.bank.step(step, self.batch)

    def end(self) -> None:
        """Run the transfer to its end from any state, and check that its money is in one place."""
        for step in STEP_NAMES:
            self.run(step)
        assert self.standing() in ("committed", "rejected", "rolled_back")
        assert self.holdings() == HOLDINGS[self.standing()]
        self.bank.audit()

    def standing(self) -> str:
        state = self.bank.state(self.transfer)
        rows = self.rows()["unfinished"]
        if not rows:
            return state
        if state == "accepted" and rows[0]["batch_id"]:
            state = "claimed"
        return f"{state}, failed" if rows[0]["failure_code"] else state

    def holdings(self) -> object:
        source, destination = self.bank.look(self.source), self.bank.look(self.destination)
        with transaction(self.bank.engine) as connection:
            transit = connection.scalar(
                text("SELECT balance FROM wallets WHERE kind = 'transit' AND asset = 'USD'")
            )
        return (_three(source), int(transit or 0), _three(destination))

    def rows(self) -> dict[str, list[dict[str, object]]]:
        """Return all columns of the rows of this transfer and its wallets."""
        found = {}
        with transaction(self.bank.engine) as connection:
            for table, condition in (
                ("unfinished", "transfer_id = :transfer"),
                ("outcomes", "transfer_id = :transfer"),
                ("postings", "transfer_id = :transfer"),
                ("events", "transfer_id = :transfer"),
                ("wallets", "id IN (:source, :destination)"),
            ):
                query = f"SELECT to_jsonb(r) FROM {table} r WHERE {condition} ORDER BY 1"  # noqa: S608 - our own words
                argument = {
                    "transfer": self.transfer,
                    "source": self.source.id,
                    "destination": self.destination.id,
                }
                found[table] = list(connection.scalars(text(query), argument))
        return found

    def _set(self, change: str) -> None:
        with transaction(self.bank.engine) as connection:
            connection.execute(
                text(f"UPDATE unfinished SET {change} WHERE transfer_id = :id AND :batch = :batch"),  # noqa: S608 - our own words
                {"id": self.transfer, "batch": self.batch},
            )


def _three(wallet: Wallet) -> tuple[int, int, int]:
    return (wallet.balance, wallet.reserved, wallet.incoming)


def test_a_transfer_passes_all_steps_and_the_books_balance(bank: Bank) -> None:
    source, destination = bank.wallet(1_000), bank.wallet()
    [transfer] = bank.accept(bank.request(source, destination, 300))
    bank.settle()
    assert bank.state(transfer) == "committed"
    assert bank.look(source).available == 700
    assert bank.look(destination).available == 300
    assert bank.timeline(transfer) == ["accepted", "reserved", "deducted", "credited", "committed"]
    bank.audit()


def test_each_step_reports_what_it_did(bank: Bank) -> None:
    source, frozen, open_ = bank.wallet(100), bank.wallet(), bank.wallet()
    bank.accept(
        bank.request(source, frozen, 30),
        bank.request(source, open_, 30),
        bank.request(source, open_, 41),
    )
    bank.accept(bank.request(source, open_, 10))
    batch = new_id()
    assert bank.step("reserve", batch) == steps.Progress(moved=3, left=True)
    assert bank.step("credit", batch) == steps.Progress(left=True)
    assert bank.step("deduct", batch) == steps.Progress(moved=3, left=True)
    freeze(bank, frozen)
    assert bank.step("credit", batch) == steps.Progress(moved=2, failed=1, left=True)
    assert bank.step("commit", batch) == steps.Progress(moved=2, left=True)
    assert bank.step("commit", batch) == steps.Progress()
    assert bank.roll_back(batch) == 1
    assert bank.roll_back(batch) == 0
    assert bank.step("reserve", new_id()) == steps.Progress()
    assert bank.unfinished() == 0


def test_balances_after_each_posting_follow_the_order_of_acceptance(bank: Bank) -> None:
    a, b, c = bank.wallet(1_000), bank.wallet(500), bank.wallet()
    made = bank.accept(
        bank.request(a, b, 100),
        bank.request(b, c, 400),
        bank.request(a, c, 7),
        bank.request(b, c, 3),
    )
    batch = new_id()
    for step, _, _ in STEPS:
        bank.step(step, batch)
        bank.audit()
    with transaction(bank.engine) as connection:
        lines = connection.execute(
            text("""SELECT leg, transfer_id, debit_balance_after, credit_balance_after
                    FROM postings WHERE transfer_id = ANY(:made) ORDER BY seq"""),
            {"made": made},
        ).all()
    assert [(leg, made.index(id), int(debit), int(credit)) for leg, id, debit, credit in lines] == [
        ("deduct", 0, 900, 100),
        ("deduct", 1, 100, 500),
        ("deduct", 2, 893, 507),
        ("deduct", 3, 97, 510),
        ("credit", 0, 410, 197),
        ("credit", 1, 10, 400),
        ("credit", 2, 3, 407),
        ("credit", 3, 0, 410),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_random_batches_among_few_wallets_end_as_a_model_in_python_says(
    bank: Bank, seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test, not a secret
    held = [bank.wallet(rng.randrange(0, 400)) for _ in range(5)]
    expected = {wallet.id: wallet.balance for wallet in held}
    waited = 0
    for _ in range(3):
        pairs = [rng.sample(held, 2) for _ in range(60)]
        asked = [(one.id, two.id, rng.randrange(1, 120)) for one, two in pairs]
        made = bank.accept(*(bank.request(*terms) for terms in asked))
        bank.settle()
        committed, waiting = settled_in_order(expected, asked)
        for number, id in enumerate(made):
            assert bank.state(id) == ("committed" if number in committed else "rejected")
            assert ("waiting" in bank.timeline(id)) is (number in waiting)
        waited += len(waiting & committed)
    assert waited
    assert {wallet.id: bank.look(wallet).balance for wallet in held} == expected
    bank.audit()


def settled_in_order(
    balances: dict[UUID, int], asked: list[tuple[UUID, UUID, int]]
) -> tuple[set[int], set[int]]:
    """Settle transfers in batches, in order of acceptance, and change the balances.

    Returns: the numbers of those that are committed, and of those that had to wait.
    """
    unfinished: list[int] = []
    for number, (source, _, amount) in enumerate(asked):
        if amount <= balances[source] or any(asked[each][1] == source for each in unfinished):
            unfinished.append(number)
    committed: set[int] = set()
    waits_for: dict[int, int] = {}
    waited: set[int] = set()
    while unfinished:
        left, owed, paid, refused = dict(balances), dict.fromkeys(balances, 0), set(), set()
        for number in unfinished:
            source, _, amount = asked[number]
            lacking = amount + owed[source] - left[source]
            brings = [n for n in unfinished if n < number and asked[n][1] == source]
            if waits_for.get(number) in unfinished:
                owed[source] += amount
            elif lacking <= 0:
                left[source] -= amount
                paid.add(number)
            elif brings:
                owed[source] += amount
                amounts = [asked[n][2] for n in brings]
                waits_for[number] = brings[first_enough(amounts, lacking)]
                waited.add(number)
            else:
                refused.add(number)
        pay(balances, [asked[number] for number in paid])
        committed |= paid
        unfinished = [n for n in unfinished if n not in paid | refused]
    return committed, waited


def pay(balances: dict[UUID, int], paid: list[tuple[UUID, UUID, int]]) -> None:
    for source, destination, amount in paid:
        balances[source] -= amount
        balances[destination] += amount


def first_enough(amounts: list[int], lacking: int) -> int:
    """Return the first place up to which the amounts add up to what is lacking, else the last."""
    sums = itertools.accumulate(amounts)
    return next((i for i, total in enumerate(sums) if total >= lacking), len(amounts) - 1)


@pytest.mark.parametrize("status", ["frozen", "closed"])
@pytest.mark.parametrize(
    ("reached", "events"),
    [
        ("reserved", ["accepted", "reserved", "deducted", "failed", "rolled_back"]),
        ("deducted", ["accepted", "reserved", "deducted", "failed", "rolled_back"]),
        ("credited", ["accepted", "reserved", "deducted", "credited", "failed", "rolled_back"]),
    ],
)
def test_a_blocked_destination_gets_nothing_and_the_source_is_refunded(
    bank: Bank, reached: str, events: list[str], status: str
) -> None:
    source, destination = bank.wallet(1_000), bank.wallet()
    batch = bank.reach(reached, bank.request(source, destination, 300))
    [transfer] = unfinished(bank)
    if status == "closed" and reached == "credited":
        with pytest.raises(InvalidState, match="not empty"):
            close(bank, destination)
        return
    (freeze if status == "frozen" else close)(bank, destination)
    for step, start, _ in STEPS:
        if start in ("reserved", "deducted", "credited"):
            bank.step(step, batch)
            bank.audit()
    assert bank.roll_back(batch) == 1
    ended = bank.transfer(transfer)
    assert ended.state == "rolled_back"
    assert ended.failure is not None
    assert ended.failure.code == "rolled_back"
    assert ended.failure.detail == f"The destination wallet is {status}."
    assert _three(bank.look(source)) == (1_000, 0, 0)
    assert _three(bank.look(destination)) == (0, 0, 0)
    forth = ["deduct", "credit"] if "credited" in events else ["deduct"]
    back = ["uncredit", "refund"] if "credited" in events else ["refund"]
    assert legs_of(bank, transfer) == forth + back
    assert bank.timeline(transfer) == events
    bank.audit()


def test_only_transfers_to_the_frozen_wallet_are_rolled_back(bank: Bank) -> None:
    source, frozen, open_ = bank.wallet(1_000), bank.wallet(), bank.wallet()
    targets = [frozen, open_] * 10
    batch = bank.reach("deducted", *(bank.request(source, target, 7) for target in targets))
    freeze(bank, frozen)
    bank.step("credit", batch)
    bank.roll_back(batch)
    bank.step("commit", batch)
    assert bank.unfinished() == 0
    assert bank.look(frozen).balance == 0
    assert bank.look(open_).available == 70
    assert bank.look(source).available == 930
    bank.audit()


def test_failed_transfers_of_every_state_are_undone_together(bank: Bank) -> None:
    source, destination = bank.wallet(1_000), bank.wallet()
    reached = [
        bank.reach(state, bank.request(source, destination, amount))
        for state, amount in (("credited", 100), ("deducted", 20), ("reserved", 3))
    ]
    batch = new_id()
    with transaction(bank.engine) as connection:
        connection.execute(
            text("""UPDATE unfinished SET batch_id = :batch, failure_code = 'rolled_back',
                    failure_detail = 'Decided by the test.' WHERE batch_id = ANY(:reached)"""),
            {"batch": batch, "reached": reached},
        )
    assert bank.roll_back(batch) == 3
    assert _three(bank.look(source)) == (1_000, 0, 0)
    assert _three(bank.look(destination)) == (0, 0, 0)
    bank.audit()


@pytest.mark.parametrize("reached", ["reserved", "deducted", "credited"])
def test_reserved_money_still_leaves_a_source_frozen_later(bank: Bank, reached: str) -> None:
    source, destination = bank.wallet(1_000), bank.wallet()
    batch = bank.reach(reached, bank.request(source, destination, 300))
    freeze(bank, source)
    for step, _, _ in STEPS:
        bank.step(step, batch)
    assert bank.look(destination).available == 300
    assert bank.unfinished() == 0
    bank.audit()


def test_a_refund_reaches_a_source_frozen_later(bank: Bank) -> None:
    source, destination = bank.wallet(1_000), bank.wallet()
    batch = bank.reach("credited", bank.request(source, destination, 300))
    freeze(bank, source)
    freeze(bank, destination)
    bank.step("commit", batch)
    assert bank.roll_back(batch) == 1
    assert _three(bank.look(source)) == (1_000, 0, 0)
    bank.audit()


def test_money_cannot_be_spent_before_it_is_committed(bank: Bank) -> None:
    a, b, c = bank.wallet(100), bank.wallet(), bank.wallet()
    batch = bank.reach("credited", bank.request(a, b, 100))
    [early] = bank.accept(bank.request(b, c, 1))
    bank.settle()
    assert bank.timeline(early) == ["accepted", "waiting"]
    assert (_three(bank.look(b)), _three(bank.look(c))) == ((100, 0, 100), (0, 0, 0))
    bank.step("commit", batch)
    [later, too_much] = bank.accept(bank.request(b, c, 99), bank.request(b, c, 1))
    bank.settle()
    assert [bank.state(id) for id in (early, later, too_much)] == [
        "committed",
        "committed",
        "rejected",
    ]
    assert (_three(bank.look(b)), _three(bank.look(c))) == ((0, 0, 0), (100, 0, 0))
    bank.audit()


def test_an_external_wallet_alone_goes_negative(bank: Bank) -> None:
    outside = bank.wallet(kind="external", owner=bank.admin)
    house = bank.wallet(kind="house", owner=bank.admin)
    [brought_in] = bank.accept(bank.request(outside, house, 10**20, client=bank.admin))
    [too_much] = bank.accept(bank.request(house, outside, 10**20 + 1, client=bank.admin))
    bank.settle()
    assert (bank.state(brought_in), bank.state(too_much)) == ("committed", "rejected")
    assert bank.look(outside).available == -(10**20)
    bank.audit()


def test_an_empty_wallet_closes_and_stays_closed(bank: Bank) -> None:
    wallet = bank.wallet()
    for _ in range(2):
        assert close(bank, wallet).status == "closed"
    for change in (wallets.freeze, wallets.unfreeze):
        with pytest.raises(InvalidState), transaction(bank.engine) as connection:
            change(connection, wallet.id)
    assert bank.look(wallet).status == "closed"


@pytest.mark.parametrize("change", [wallets.freeze, wallets.unfreeze, wallets.close])
def test_a_wallet_that_does_not_exist_changes_no_status(bank: Bank, change: object) -> None:
    with pytest.raises(NotFound), transaction(bank.engine) as connection:
        change(connection, new_id())  # type: ignore[operator]


def test_a_wallet_with_money_in_it_does_not_close(bank: Bank) -> None:
    for wallet in (bank.wallet(1), bank.external["USD"]):
        with pytest.raises(InvalidState, match="not empty"):
            close(bank, wallet)
        assert bank.look(wallet).status == "active"


@pytest.mark.parametrize("reached", ["reserved", "deducted", "credited"])
def test_a_source_with_outgoing_transfers_does_not_close(bank: Bank, reached: str) -> None:
    source, destination = bank.wallet(300), bank.wallet()
    batch = bank.reach(reached, bank.request(source, destination, 300))
    with pytest.raises(InvalidState):
        close(bank, source)
    for step, _, _ in STEPS:
        bank.step(step, batch)
    assert close(bank, source).status == "closed"
    bank.audit()


def test_a_source_that_closed_while_a_transfer_waited_refuses_it(bank: Bank) -> None:
    source, destination = bank.wallet(300), bank.wallet()
    [emptied, waiting] = bank.accept(
        bank.request(source, destination, 300), bank.request(source, destination, 1)
    )
    with transaction(bank.engine) as connection:
        connection.execute(
            text("UPDATE unfinished SET batch_id = :batch WHERE transfer_id = :id"),
            {"batch": (later := new_id()), "id": waiting},
        )
    bank.settle()
    close(bank, source)
    bank.step("reserve", later)
    assert (bank.state(emptied), bank.state(waiting)) == ("committed", "rejected")
    failure = bank.transfer(waiting).failure
    assert failure is not None
    assert failure.code == "wallet_closed"
    bank.audit()


def test_a_transit_wallet_is_never_frozen_and_never_closed(bank: Bank) -> None:
    with transaction(bank.engine) as connection:
        transit = connection.scalar(text("SELECT id FROM wallets WHERE kind = 'transit' LIMIT 1"))
    for change in (wallets.freeze, wallets.unfreeze, wallets.close):
        with pytest.raises(InvalidState), transaction(bank.engine) as connection:
            change(connection, transit)


@pytest.mark.parametrize("step", ["reserve", "deduct", "credit", "commit"])
def test_a_retry_shows_in_the_timeline_once_it_has_moved_something(bank: Bank, step: str) -> None:
    source, destination = bank.wallet(1_000), bank.wallet()
    start = next(start for name, start, _ in STEPS if name == step)
    batch = bank.reach(start, bank.request(source, destination, 300))
    [transfer] = unfinished(bank)
    for attempt in (2, 3):
        with transaction(bank.engine) as connection:
            steps.run_step(connection, step, batch, worker="test", attempt=attempt)  # type: ignore[arg-type]
    assert bank.timeline(transfer).count("retried") == 1


def test_the_times_of_a_transfer_never_run_backwards(bank: Bank) -> None:
    source, destination = bank.wallet(1_000), bank.wallet()
    bank.accept(*(bank.request(source, destination, 1) for _ in range(20)))
    bank.settle()
    with transaction(bank.engine) as connection:
        wrong = connection.execute(
            text("""SELECT * FROM transfers t JOIN outcomes o ON o.transfer_id = t.id
                    WHERE NOT (t.created_at <= reserved_at AND reserved_at <= deducted_at
                               AND deducted_at <= credited_at AND credited_at <= finished_at)""")
        ).all()
    assert not wrong


def freeze(bank: Bank, wallet: Wallet) -> Wallet:
    with transaction(bank.engine) as connection:
        return wallets.freeze(connection, wallet.id)


def close(bank: Bank, wallet: Wallet) -> Wallet:
    with transaction(bank.engine) as connection:
        return wallets.close(connection, wallet.id)


def unfinished(bank: Bank) -> list[UUID]:
    with transaction(bank.engine) as connection:
        return list(connection.scalars(text("SELECT transfer_id FROM unfinished ORDER BY seq")))


def legs_of(bank: Bank, transfer: UUID) -> list[str]:
    with transaction(bank.engine) as connection:
        query = text("SELECT leg FROM postings WHERE transfer_id = :id ORDER BY seq")
        return list(connection.scalars(query, {"id": transfer}))
