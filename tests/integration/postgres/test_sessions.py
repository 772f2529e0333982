"""Sessions: transactions begin with their first statement, and end as they are told to."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from ledger.errors import Poisoned, Unavailable
from ledger.postgres.database import autocommit, build_engine, savepoint, transaction
from ledger.postgres.dialect import UNREAD
from ledger.postgres.session import Session

WRITE = text("INSERT INTO blocked_wallets (wallet_id) VALUES (:id)")
REMOVE = text("DELETE FROM blocked_wallets WHERE wallet_id = :id")
COUNT = text("SELECT count(*) FROM blocked_wallets")
QUERY = text("SELECT current_query()")
NUMBER = text("SELECT pg_current_xact_id()::text")
NOTE = text("SELECT set_config('truepenny.note', :text, true)")
NOTED = text("SELECT current_setting('truepenny.note')")
ID, OTHER = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"


def count(engine: Engine) -> int:
    with autocommit(engine) as connection:
        return int(connection.execute(COUNT).scalar_one())


def statuses(connection: Connection) -> tuple[bool, bool]:
    """Return whether the next statement begins a transaction, and whether none is under way."""
    session = connection.connection.driver_connection
    return session.begins, session.is_idle  # type: ignore[union-attr]


def test_a_transaction_begins_with_its_first_statement(engine: Engine) -> None:
    with transaction(engine) as connection:
        assert statuses(connection) == (True, True)
        first, second = (str(connection.execute(QUERY).scalar_one()) for _ in range(2))
        assert statuses(connection) == (False, False)
    assert first == f"BEGIN ISOLATION LEVEL READ COMMITTED; {QUERY.text}"
    assert second == QUERY.text


def test_a_transaction_without_a_statement_sends_nothing(engine: Engine) -> None:
    with transaction(engine):
        pass
    with transaction(engine) as connection:  # the connection of before, with no BEGIN left over
        assert str(connection.execute(QUERY).scalar_one()).startswith("BEGIN")
    with autocommit(engine) as connection:
        assert connection.execute(QUERY).scalar_one() == QUERY.text


def test_a_transaction_is_whole_or_undone(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(WRITE, {"id": ID})
        assert count(engine) == 0
    assert count(engine) == 1
    with pytest.raises(RuntimeError), transaction(engine) as connection:  # noqa: PT012
        connection.execute(WRITE, {"id": OTHER})
        raise RuntimeError
    assert count(engine) == 1


def test_a_transaction_whose_failure_was_overlooked_does_not_pass_for_committed(
    engine: Engine,
) -> None:
    with pytest.raises(Unavailable), transaction(engine) as connection:  # noqa: PT012
        connection.execute(WRITE, {"id": ID})
        with pytest.raises(Exception, match="duplicate key"):
            connection.execute(WRITE, {"id": ID})
    assert count(engine) == 0


def test_a_part_is_undone_alone(engine: Engine) -> None:
    with transaction(engine) as connection:
        with pytest.raises(Poisoned), savepoint(connection):
            connection.execute(text("SELECT 1 / 0"))
        connection.execute(WRITE, {"id": ID})
    assert count(engine) == 1


def test_what_nobody_reads_is_sent_with_the_next_statement(engine: Engine) -> None:
    with transaction(engine) as connection:  # from now on the server keeps it
        connection.execute(WRITE, {"id": ID}, execution_options=UNREAD)
        connection.rollback()
    with transaction(engine) as connection:
        connection.execute(WRITE, {"id": ID}, execution_options=UNREAD)
        assert statuses(connection) == (True, True), "nothing is sent yet"
        sent = str(connection.execute(QUERY).scalar_one())
        assert sent.startswith("BEGIN ISOLATION LEVEL READ COMMITTED; EXECUTE kept_1(")
        assert sent.endswith(f"); {QUERY.text}")
        assert connection.execute(COUNT).scalar_one() == 1
    assert count(engine) == 1


def test_a_commit_takes_it_along_and_a_rollback_does_not(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(WRITE, {"id": ID}, execution_options=UNREAD)
    assert count(engine) == 1
    with pytest.raises(RuntimeError), transaction(engine) as connection:  # noqa: PT012
        connection.execute(WRITE, {"id": OTHER}, execution_options=UNREAD)
        raise RuntimeError
    with transaction(engine) as connection:
        assert str(connection.execute(QUERY).scalar_one()).endswith(f"; {QUERY.text}")
    assert count(engine) == 1


def test_its_failure_is_that_of_the_commit_which_then_commits_nothing(engine: Engine) -> None:
    with pytest.raises(Poisoned), transaction(engine) as connection:  # noqa: PT012
        connection.execute(WRITE, {"id": OTHER})
        connection.execute(WRITE, {"id": ID}, execution_options=UNREAD)
        connection.execute(WRITE, {"id": ID}, execution_options=UNREAD)
    assert count(engine) == 0
    with transaction(engine) as connection:
        connection.execute(WRITE, {"id": ID})
    assert count(engine) == 1


def test_a_part_that_may_be_undone_alone_sends_it_at_once(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(WRITE, {"id": ID}, execution_options=UNREAD)
        with pytest.raises(Poisoned), savepoint(connection):  # noqa: PT012
            connection.execute(WRITE, {"id": OTHER}, execution_options=UNREAD)
            connection.execute(WRITE, {"id": ID}, execution_options=UNREAD)
    assert count(engine) == 1


def test_without_a_transaction_it_is_sent_at_once(engine: Engine) -> None:
    with autocommit(engine) as connection:
        connection.execute(WRITE, {"id": ID}, execution_options=UNREAD)
        assert count(engine) == 1


def test_values_of_what_waits_are_never_read_as_places_for_others(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(NOTE, {"text": "100 %s %(id)s; '"}, execution_options=UNREAD)
        connection.execute(WRITE, {"id": ID})
        assert connection.execute(NOTED).scalar_one() == "100 %s %(id)s; '"


def test_what_waits_is_not_lost_with_a_statement_that_is_not_understood(engine: Engine) -> None:
    with transaction(engine) as connection:  # from now on the server keeps it
        connection.execute(WRITE, {"id": ID}, execution_options=UNREAD)
        connection.rollback()
    with transaction(engine) as connection:
        connection.execute(WRITE, {"id": ID}, execution_options=UNREAD)
        with pytest.raises(ProgrammingError):  # the server reads nothing of the whole message
            connection.execute(text("SELEC"))
        connection.execute(WRITE, {"id": OTHER})
    assert count(engine) == 2


def test_an_interrupted_message_commits_nothing_of_what_waited(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable), transaction(engine) as connection:  # noqa: PT012
        connection.execute(WRITE, {"id": OTHER})
        connection.execute(WRITE, {"id": ID}, execution_options=UNREAD)
        monkeypatch.setattr(Session, "opening", interrupt)  # as a signal may, before it is sent
        with pytest.raises(InterruptedError):
            connection.execute(QUERY)
        monkeypatch.undo()
    assert count(engine) == 0


def interrupt(_: Session) -> str:
    raise InterruptedError


def test_many_executions_at_once_come_after_what_waits(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(text("SELECT"))
        connection.execute(WRITE, {"id": ID}, execution_options=UNREAD)
        connection.execute(REMOVE, [{"id": ID}, {"id": OTHER}])
    assert count(engine) == 0


def test_each_statement_that_is_sent_has_its_own_time(own_database_url: str) -> None:
    engine = build_engine(own_database_url, application_name="test", statement_timeout_s=1.0)
    with transaction(engine) as connection:
        for _ in range(2):
            connection.execute(text("SELECT pg_sleep(0.9)"), execution_options=UNREAD)
        assert connection.execute(text("SELECT 1 FROM pg_sleep(0.9)")).scalar_one() == 1
    engine.dispose()


def test_each_statement_is_a_transaction_of_its_own_in_autocommit(engine: Engine) -> None:
    with autocommit(engine) as connection:
        numbers = {connection.execute(NUMBER).scalar_one() for _ in range(3)}
        connection.execute(WRITE, {"id": ID})
        assert count(engine) == 1
        with pytest.raises(Exception, match="division by zero"):
            connection.execute(text("SELECT 1 / 0"))
        assert connection.execute(COUNT).scalar_one() == 1
        assert statuses(connection) == (False, True)
    assert len(numbers) == 3
    with transaction(engine) as connection:
        assert len({connection.execute(NUMBER).scalar_one() for _ in range(3)}) == 1


def test_many_rows_are_written_in_the_transaction(engine: Engine) -> None:
    with pytest.raises(RuntimeError), transaction(engine) as connection:  # noqa: PT012
        connection.execute(WRITE, [{"id": ID}, {"id": OTHER}])
        assert count(engine) == 0
        raise RuntimeError
    with transaction(engine) as connection:
        connection.execute(WRITE, [{"id": ID}, {"id": OTHER}])
    assert count(engine) == 2


def test_an_isolation_level_that_is_asked_for_is_kept_and_ends_with_its_use(
    own_database_url: str,
) -> None:
    engine = build_engine(own_database_url, application_name="test", pool_size=1)
    shown = text("SHOW transaction_isolation")
    for level in ("REPEATABLE READ", "SERIALIZABLE"):
        with engine.connect().execution_options(isolation_level=level) as connection:
            assert str(connection.execute(shown).scalar_one()) == level.lower()
        with transaction(engine) as connection:
            assert connection.execute(shown).scalar_one() == "read committed"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert connection.execute(NUMBER).scalar_one() != connection.execute(NUMBER).scalar_one()
    with transaction(engine) as connection:
        assert connection.execute(NUMBER).scalar_one() == connection.execute(NUMBER).scalar_one()
    engine.dispose()


@pytest.mark.parametrize("statement", ["SELECT :x", "SELEC :x"])
@pytest.mark.parametrize("value", ["\x00", "\ud800", object()], ids=["nul", "surrogate", "object"])
def test_a_first_statement_that_begins_nothing_leaves_that_to_the_next(
    engine: Engine, statement: str, value: object
) -> None:
    with pytest.raises(RuntimeError), transaction(engine) as connection:  # noqa: PT012
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the driver says of it
            connection.execute(text(statement), {"x": value})
        connection.execute(WRITE, {"id": ID})
        raise RuntimeError
    assert count(engine) == 0


def test_what_the_server_does_not_understand_begins_nothing_either(engine: Engine) -> None:
    with pytest.raises(RuntimeError), transaction(engine) as connection:  # noqa: PT012
        with pytest.raises(ProgrammingError):
            connection.execute(text("SELEC 1"))
        connection.execute(WRITE, {"id": ID})
        raise RuntimeError
    assert count(engine) == 0
