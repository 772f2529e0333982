"""Kept statements: a session plans them once, and forgets them with its server."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import (
    Connection,
    Engine,
    Integer,
    Uuid,
    bindparam,
    column,
    literal,
    select,
    table,
    text,
    update,
)

from ledger.errors import Disposition, Poisoned, Unreachable, disposition
from ledger.ids import new_id
from ledger.movements import MovementPart
from ledger.postgres import schema, session
from ledger.postgres.database import autocommit, build_engine, session_of, transaction
from ledger.postgres.dialect import PREPARED
from ledger.states import STEPS
from testing.bank import Bank

QUERY = text("SELECT current_query()")
KNOWN = text("""
    SELECT statement, generic_plans + custom_plans AS uses FROM pg_prepared_statements
    ORDER BY prepare_time
""")
DIVIDED = text("SELECT 1 / CAST(:by AS int)")
SIZES = text("SELECT size FROM things")
ID = UUID(int=1)
BY_STATE = select(schema.unfinished.c.transfer_id).where(
    MovementPart(("reserved",)).condition(), literal(7) == bindparam("seven")
)


@pytest.fixture
def single(own_database_url: str) -> Iterator[Engine]:
    """Build an engine with a single connection."""
    engine = build_engine(own_database_url, application_name="test", pool_size=1)
    yield engine
    engine.dispose()


def run(connection: Connection, statement: object, **arguments: object) -> list[object]:
    return list(connection.scalars(statement, arguments, execution_options=PREPARED))  # type: ignore[call-overload]


def test_a_marked_statement_is_kept_once_with_its_constants(single: Engine) -> None:
    for _ in range(3):
        with transaction(single) as connection:
            assert run(connection, BY_STATE, batch=new_id(), seven=7) == []
    with transaction(single) as connection:
        connection.execute(BY_STATE, {"batch": new_id(), "seven": 7})  # not marked
        ((statement, uses),) = connection.execute(KNOWN).all()
    assert "state IN ('reserved')" in statement
    assert "batch_id = $1" in statement
    assert uses == 3


def test_statements_of_the_same_shape_are_not_mistaken_for_each_other(single: Engine) -> None:
    one, two = (select(literal(word), bindparam("id", type_=Uuid())) for word in ("one", "two"))
    for statement, word in ((one, "one"), (two, "two"), (one, "one")):
        with transaction(single) as connection:
            row = connection.execute(statement, {"id": ID}, execution_options=PREPARED).one()
        assert tuple(row) == (word, ID)


def test_no_value_of_a_caller_becomes_a_constant(single: Engine) -> None:
    default = select(bindparam("number", 1, type_=Integer()))
    several = select(literal(7)).where(literal(7).in_(bindparam("numbers", expanding=True)))
    with transaction(single) as connection:
        for number in (5, 6):
            assert run(connection, default, number=number) == [number]
        for numbers, found in (([1, 2], []), ([6, 7], [7])):
            assert run(connection, several, numbers=numbers) == found


def test_a_statement_with_other_columns_is_another_one(single: Engine) -> None:
    things = table("things", column("size"), column("weight"))
    with transaction(single) as connection:
        connection.execute(text("CREATE TEMPORARY TABLE things (size int, weight int)"))
        connection.execute(text("INSERT INTO things VALUES (0, 0)"))
        change = update(things).returning(things.c.weight)
        assert run(connection, change, size=1) == [0]
        assert run(connection, change, size=1, weight=2) == [2]


def test_a_transaction_may_begin_with_one(single: Engine) -> None:
    for expected in ("EXECUTE kept_1", "BEGIN ISOLATION LEVEL READ COMMITTED; EXECUTE kept_1"):
        with transaction(single) as connection:
            assert run(connection, QUERY) == [expected]
            assert not session_of(connection).is_idle


def test_the_steps_keep_their_statements(single: Engine) -> None:
    bank = Bank(single)
    source, destination = bank.wallet(1_000), bank.wallet()
    with transaction(single) as connection:
        before = [statement for statement, _ in connection.execute(KNOWN)]
    for _ in range(3):
        bank.accept(bank.request(source, destination, 10))
        batch = new_id()
        for step, _, _ in STEPS:
            bank.step(step, batch)
    with transaction(single) as connection:
        after = [statement for statement, _ in connection.execute(KNOWN)]
    assert len(before) >= 15
    assert after == before
    assert bank.look(destination).balance == 30
    bank.audit()


def test_a_statement_that_fails_is_kept_all_the_same(single: Engine) -> None:
    with pytest.raises(Poisoned), transaction(single) as connection:
        run(connection, DIVIDED, by=0)
    with transaction(single) as connection:
        assert run(connection, DIVIDED, by=1) == [1]
        assert len(connection.execute(KNOWN).all()) == 1


@pytest.mark.parametrize("change", ["type", "forgotten"])
def test_a_plan_that_no_longer_fits_costs_one_try(single: Engine, change: str) -> None:
    with transaction(single) as connection:
        connection.execute(text("CREATE TEMPORARY TABLE things (size int)"))
    with transaction(single) as connection:
        run(connection, SIZES)
    with transaction(single) as connection:
        connection.execute(
            text(
                "ALTER TABLE things ALTER size TYPE bigint"
                if change == "type"
                else "DEALLOCATE ALL"
            )
        )
    with pytest.raises(Unreachable) as caught, transaction(single) as connection:
        run(connection, SIZES)
    assert disposition(caught.value) is Disposition.RETRY
    with transaction(single) as connection:
        assert run(connection, QUERY) == ["EXECUTE kept_1"]  # a new session


def test_statements_are_kept_again_after_a_while(
    single: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction(single) as connection:
        run(connection, QUERY)
    monkeypatch.setattr(session, "KEPT_S", 0.0)
    with transaction(single) as connection:
        assert run(connection, QUERY) == ["EXECUTE kept_2"]
        (kept,) = connection.execute(KNOWN).all()
    assert kept[0].startswith("BEGIN ISOLATION LEVEL READ COMMITTED; DEALLOCATE ALL; PREPARE")


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_statements_are_kept_again_at_every_level(
    single: Engine, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    with transaction(single) as connection:
        run(connection, QUERY)
    monkeypatch.setattr(session, "KEPT_S", 0.0)
    with single.connect().execution_options(isolation_level=level) as connection:
        assert connection.scalar(text("SHOW transaction_isolation")) == level.lower()


def test_what_runs_in_no_transaction_is_sent_alone(
    single: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction(single) as connection:
        run(connection, QUERY)
    monkeypatch.setattr(session, "KEPT_S", 0.0)
    with autocommit(single) as connection:
        assert connection.scalar(QUERY) == "SELECT current_query()"
        (kept,) = run(connection, QUERY)
        assert str(kept).startswith("EXECUTE kept_")
    with transaction(single) as connection:
        assert run(connection, QUERY) != [kept]  # that one is forgotten by now
