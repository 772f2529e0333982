"""Isolation: one bad transfer is found and undone, and the rest of its batch continues.

The "poison" is a database trigger that refuses one transfer's row at one point, as a bug or
unforeseen data would. The code under test is unchanged.
"""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import text

from ledger import isolation, steps
from ledger.errors import Disposition, Misconfigured, Poisoned
from ledger.ids import new_id
from ledger.postgres.database import transaction
from ledger.recovery import NOTED_REDRIVES
from ledger.states import StepName
from ledger.wallets import Wallet
from testing.bank import Bank
from testing.batch_driver import BatchDriver
from testing.servers.databases import as_owner

BAD = 13
"""The amount by which the poison recognises its transfer; the others have less."""

POISONS = {
    # step: (the table whose row is refused, when)
    "reserve": ("BEFORE UPDATE ON unfinished", "NEW.state = 'reserved'"),
    "deduct": ("BEFORE INSERT ON postings", "NEW.leg = 'deduct'"),
    "credit": ("BEFORE INSERT ON postings", "NEW.leg = 'credit'"),
    "commit": (
        "BEFORE DELETE ON unfinished",
        "OLD.state = 'credited' AND OLD.failure_code IS NULL",
    ),
    "roll_back": ("BEFORE INSERT ON postings", "NEW.leg = 'refund'"),
}


def poison(bank: Bank, step: str, amounts: str = f"= {BAD}") -> None:
    event, condition = POISONS[step]
    row = "OLD" if "OLD" in condition else "NEW"
    with as_owner(bank.engine) as connection:
        connection.execute(
            text(f"""
                CREATE FUNCTION poison_{step}() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'secret detail % of step {step}', {row}; END $$;
                CREATE TRIGGER poison_{step} {event} FOR EACH ROW
                WHEN ({row}.amount {amounts} AND {condition}) EXECUTE FUNCTION poison_{step}();
            """)
        )


def cure(bank: Bank, step: str) -> None:
    with as_owner(bank.engine) as connection:
        connection.execute(text(f"DROP FUNCTION poison_{step} CASCADE"))


@pytest.mark.parametrize("step", ["reserve", "deduct", "credit", "commit"])
@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_only_the_culprit_is_given_up_and_all_others_commit(
    bank: Bank, source: Wallet, destination: Wallet, step: str, size: int
) -> None:
    amounts = [1 + n % 5 for n in range(size)]
    amounts[size // 2] = BAD
    made = bank.accept(*(bank.request(source, destination, amount) for amount in amounts))
    culprit = made.pop(size // 2)
    poison(bank, step)
    driver = BatchDriver(bank.engine)
    driver.drive()
    assert bank.unfinished() == 0
    assert {bank.state(id) for id in made} <= {"committed"}
    assert bank.state(culprit) == ("rejected" if step == "reserve" else "rolled_back")
    assert bank.look(destination).available == sum(amounts) - BAD
    assert bank.look(source).available == 100_000 - sum(amounts) + BAD
    assert all(isinstance(error, Poisoned) for error in driver.errors)
    assert len(driver.errors) <= 2 + size.bit_length(), "the search halves the batch"
    failure = bank.transfer(culprit).failure
    assert failure is not None
    assert failure.code == "rolled_back", "a code of the HTTP contract"
    bank.audit()


def test_what_a_client_reads_of_the_culprit_has_no_secrets(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    [culprit] = bank.accept(bank.request(source, destination, BAD))
    poison(bank, "credit")
    BatchDriver(bank.engine).drive()
    failure = bank.transfer(culprit).failure
    assert failure is not None
    assert failure.code == "rolled_back"
    with transaction(bank.engine) as connection:
        [detail] = connection.scalars(text("SELECT detail FROM events WHERE event = 'failed'"))
    assert "secret" not in detail + failure.detail
    assert bank.timeline(culprit) == ["accepted", "reserved", "deducted", "failed", "rolled_back"]


def test_several_culprits_in_one_batch_are_all_found(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    amounts = [BAD if n in (0, 1, 17, 40, 63) else 1 for n in range(64)]
    made = bank.accept(*(bank.request(source, destination, amount) for amount in amounts))
    poison(bank, "credit")
    BatchDriver(bank.engine).drive()
    expected = ["rolled_back" if amount == BAD else "committed" for amount in amounts]
    assert [bank.state(id) for id in made] == expected
    bank.audit()


def test_a_transfer_that_cannot_be_undone_delays_no_other(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    batch = bank.reach("deducted", *(bank.request(source, destination, 1 + n) for n in range(20)))
    poison(bank, "credit", f"IN ({BAD}, 4, 5)")
    poison(bank, "roll_back")
    driver = BatchDriver(bank.engine)
    driver.drive("deducted", batch)
    with transaction(bank.engine) as connection:
        [left] = connection.execute(text("SELECT transfer_id, state, amount FROM unfinished"))
    assert (left.state, left.amount) == ("deducted", BAD)
    assert "rollback_failed" in bank.timeline(left.transfer_id)
    assert bank.look(source).balance == 100_000 - 210 + 4 + 5
    bank.audit()
    cure(bank, "roll_back")
    assert [redrive.failed for redrive in driver.redrive()] == [True]
    assert bank.state(left.transfer_id) == "rolled_back"
    bank.audit()


def test_a_transfer_that_can_never_be_undone_does_not_fill_its_timeline(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    batch = bank.reach("deducted", bank.request(source, destination, BAD))
    poison(bank, "credit")
    poison(bank, "roll_back")
    driver = BatchDriver(bank.engine)
    driver.drive("deducted", batch)
    for _ in range(NOTED_REDRIVES + 5):
        driver.redrive()
    with transaction(bank.engine) as connection:
        noted = connection.scalars(
            text("SELECT count(*) FROM events WHERE event = 'rollback_failed'")
        ).one()
    assert noted == 1 + NOTED_REDRIVES
    bank.audit()


def test_failed_transfers_are_undone_except_one_that_cannot_be(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    batch = bank.reach("deducted", *(bank.request(source, destination, 1 + n) for n in range(20)))
    with transaction(bank.engine) as connection:
        connection.execute(
            text("UPDATE unfinished SET failure_code = 'rolled_back', failure_detail = 'Test.'")
        )
    poison(bank, "roll_back")
    BatchDriver(bank.engine).roll_back(batch)
    assert bank.unfinished() == 1
    assert bank.look(source).balance == 100_000 - BAD
    bank.audit()


@pytest.mark.parametrize("step", ["reserve", "deduct", "credit", "commit"])
def test_a_duplicate_of_the_failed_message_fails_no_good_transfer(
    bank: Bank, source: Wallet, destination: Wallet, step: StepName
) -> None:
    start = {"reserve": "accepted", "deduct": "reserved", "credit": "deducted"}.get(
        step, "credited"
    )
    amounts = (1, BAD)
    batch = bank.reach(start, *(bank.request(source, destination, amount) for amount in amounts))
    poison(bank, step)
    errors = []
    for _ in range(2):
        with pytest.raises(Poisoned) as caught:
            bank.step(step, batch)
        errors.append(caught.value)
    todo = []
    for _ in errors:
        with transaction(bank.engine) as connection:
            todo += isolation.isolate_step(connection, step, batch, worker="test")
    driver = BatchDriver(bank.engine)
    for part in todo:
        driver.drive(start, part)  # type: ignore[arg-type]
    assert bank.unfinished() == 0
    assert bank.look(destination).available == 1
    bank.audit()


def test_a_new_transfer_is_not_failed_for_a_culprit_in_another_reserve(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    [culprit] = bank.accept(bank.request(source, destination, BAD))
    poison(bank, "reserve")
    batch = new_id()
    with pytest.raises(Poisoned):
        bank.step("reserve", batch)
    BatchDriver(bank.engine).drive()  # another batch meets the culprit, and fails it
    [newcomer] = bank.accept(bank.request(source, destination, 1))
    with transaction(bank.engine) as connection:
        todo = isolation.isolate_step(connection, "reserve", batch, worker="test")
    driver = BatchDriver(bank.engine)
    for part in todo:
        driver.drive("accepted", part)
    assert (bank.state(culprit), bank.state(newcomer)) == ("rejected", "committed")
    bank.audit()


def test_a_search_that_dies_between_split_and_message_is_resumed(
    bank: Bank, source: Wallet, destination: Wallet
) -> None:
    made = bank.accept(*(bank.request(source, destination, 7 + n) for n in range(10)))
    poison(bank, "reserve")
    batch = new_id()
    with pytest.raises(Poisoned):
        bank.step("reserve", batch)
    with transaction(bank.engine) as connection:
        isolation.isolate_step(connection, "reserve", batch, worker="test")
    # No message is sent for the halves. The recovery scan finds them.
    driver = BatchDriver(bank.engine)
    while driver.redrive():
        pass
    assert sorted(bank.state(id) for id in made) == ["committed"] * 9 + ["rejected"]
    bank.audit()


def test_no_batch_is_split_where_the_step_has_nothing_to_move(bank: Bank, source: Wallet) -> None:
    batch = bank.reach("deducted", *(bank.request(source, bank.wallet(), 1) for _ in range(3)))
    for step in ("reserve", "deduct", "commit"):
        with transaction(bank.engine) as connection:
            halves = isolation.isolate_step(connection, step, batch, worker="test")
        assert halves == []
    with transaction(bank.engine) as connection:
        assert steps.run_step(connection, "credit", batch, worker="test").moved == 3
    bank.audit()


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("unfinished", "state"),
        ("wallets", "balance"),
        ("postings", "debit_balance_after"),
        ("outcomes", "finished_at"),
    ],
)
def test_a_database_of_another_version_changes_nothing_and_fails_no_transfer(
    bank: Bank, source: Wallet, destination: Wallet, table: str, column: str
) -> None:
    batches: dict[StepName, UUID] = {
        "deduct": bank.reach("reserved", bank.request(source, destination, 1)),
        "commit": bank.reach("credited", bank.request(source, destination, 1)),
    }
    step: StepName = "commit" if table == "outcomes" else "deduct"
    rename(bank, table, column, "renamed")
    with pytest.raises(Misconfigured):
        BatchDriver(bank.engine).drive(
            "credited" if step == "commit" else "reserved", batches[step]
        )
    rename(bank, table, "renamed", column)
    assert bank.unfinished() == 2
    with transaction(bank.engine) as connection:
        assert not connection.scalars(text("SELECT failure_code FROM unfinished")).first()
        assert not connection.execute(text("SELECT * FROM events")).all()
    for state, batch in (("reserved", batches["deduct"]), ("credited", batches["commit"])):
        BatchDriver(bank.engine).drive(state, batch)  # type: ignore[arg-type]
    assert bank.look(destination).available == 2
    bank.audit()


def rename(bank: Bank, table: str, column: str, to: str) -> None:
    with as_owner(bank.engine) as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME {column} TO {to}"))


def test_a_temporary_error_does_not_fail_the_last_transfer_of_a_batch(bank: Bank) -> None:
    [id] = bank.accept(bank.request(bank.wallet(100), bank.wallet(), BAD))
    batch = new_id()
    bank.step("reserve", batch)
    poison(bank, "deduct")
    with pytest.raises(Poisoned), transaction(bank.engine) as connection:
        isolation.isolate_step(
            connection, "deduct", batch, worker="test", decide=lambda _: Disposition.RETRY
        )
    assert bank.state(id) == "reserved"
    assert bank.roll_back(batch) == 0
