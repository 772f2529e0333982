"""PgBouncer in transaction mode before the database: every bound holds, money moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import Connection, text

from ledger.errors import Misconfigured, Refused, Unavailable, Unreachable
from ledger.postgres.database import autocommit, build_engine, probe, transaction, try_lock
from ledger.postgres.dialect import PREPARED
from stack.servers.own import Servers
from testing.bank import Bank
from testing.servers.pgbouncer import pooled

SHOWN = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "synchronous_commit",
    "transaction_isolation",
    "timezone",
)
EXPECTED = ("15s", "5s", "8s", "on", "read committed", "UTC")
WEAKER = (
    "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;"
    "SET synchronous_commit = off; SET timezone = 'Asia/Tokyo';"
    "SET default_transaction_isolation = 'serializable'"
)
DROPS_OPTIONS = "ignore_startup_parameters = options"


@pytest.fixture(params=["", DROPS_OPTIONS], ids=["refuses options", "drops options"])
def pooled_url(
    own_database_url: str,
    servers: Servers,
    servers_folder: Path,
    request: pytest.FixtureRequest,
) -> Iterator[str]:
    with pooled(own_database_url, servers, servers_folder, options=request.param) as url:
        yield url


def shown(connection: Connection, *names: str) -> tuple[str, ...]:
    return tuple(str(connection.execute(text(f"SHOW {name}")).scalar_one()) for name in names)


def weaken_all_sessions(url: str) -> None:
    """Leave settings behind in the pooler's sessions, as another of its clients may."""
    clients = [psycopg2.connect(url) for _ in range(8)]
    for client in clients:  # each holds a session of the server until all have changed theirs
        client.cursor().execute(WEAKER)
    for client in clients:
        client.commit()
        client.close()


def test_all_bounds_are_in_force_in_every_transaction(pooled_url: str) -> None:
    engine = build_engine(pooled_url, application_name="test")
    weaken_all_sessions(pooled_url)
    for _ in range(3):
        with transaction(engine) as connection:
            assert shown(connection, *SHOWN) == EXPECTED
        with autocommit(engine) as connection:
            assert shown(connection, *SHOWN) == EXPECTED
    probe(engine)
    engine.dispose()


def test_a_statement_a_lock_and_an_idle_transaction_are_bounded(pooled_url: str) -> None:
    weaken_all_sessions(pooled_url)
    engine = build_engine(pooled_url, application_name="test", statement_timeout_s=0.3)
    for opened in (autocommit, transaction):
        with pytest.raises(Unavailable, match="57014"), opened(engine) as connection:
            connection.execute(text("SELECT pg_sleep(5)"))
        with try_lock(build_engine(pooled_url, application_name="other"), 7) as is_held:
            assert is_held
            with pytest.raises(Unavailable, match=r"55P03|57014"), opened(engine) as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(7)"))
    engine.dispose()


def test_an_advisory_lock_holds_for_its_block_and_no_longer(pooled_url: str) -> None:
    engine = build_engine(pooled_url, application_name="test")
    for _ in range(3):
        with try_lock(engine, 9) as first, try_lock(engine, 9) as second:
            assert (first, second) == (True, False)
    engine.dispose()


def test_an_isolation_level_that_is_asked_for_is_kept(pooled_url: str) -> None:
    engine = build_engine(pooled_url, application_name="test")
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        assert shown(connection, "transaction_isolation", "lock_timeout") == (
            "repeatable read",
            "5s",
        )
    engine.dispose()


def test_money_moves_through_the_pooler(pooled_url: str) -> None:
    engine = build_engine(pooled_url, application_name="test")
    bank = Bank(engine)
    source, destination = bank.wallet(1_000), bank.wallet()
    bank.accept(*(bank.request(source, destination, 10) for _ in range(50)))
    bank.settle()
    assert bank.look(destination).balance == 500
    bank.audit()
    engine.dispose()


def test_no_statement_is_kept_behind_the_pooler(pooled_url: str) -> None:
    engine = build_engine(pooled_url, application_name="test")
    for _ in range(3):
        with transaction(engine) as connection:
            connection.execute(text("SELECT"))
            query = text("SELECT current_query()")
            sent = connection.execute(query, execution_options=PREPARED).scalar_one()
            assert sent == query.text
            assert not connection.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
    engine.dispose()


@pytest.mark.parametrize("is_pooled", [True, False])
def test_settings_of_the_user_stay_beside_ours_and_do_not_replace_them(
    own_database_url: str, servers: Servers, servers_folder: Path, is_pooled: bool
) -> None:
    options = "?options=-c%20search_path%3Dpublic,extensions%20--lock-timeout%3D0"
    with pooled(own_database_url, servers, servers_folder) as through:
        url = (through if is_pooled else own_database_url) + options
        engine = build_engine(url, application_name="test")
        with transaction(engine) as connection:
            assert shown(connection, *SHOWN) == EXPECTED
            assert shown(connection, "search_path") == ("public,extensions",)
        engine.dispose()


def test_options_that_are_no_settings_are_refused(own_database_url: str) -> None:
    with pytest.raises(Misconfigured, match="options in DATABASE_URL"):
        build_engine(own_database_url + "?options=-e", application_name="test")


def test_a_pooler_that_refuses_says_why_and_one_that_is_gone_does_not(
    own_database_url: str, servers: Servers, servers_folder: Path
) -> None:
    with pooled(own_database_url, servers, servers_folder) as url:
        wrong = url.replace("truepenny_app:", "nobody_such:")
        engine = build_engine(wrong, application_name="test", pool_size=0)
        with pytest.raises(Refused, match=r"server is set up wrongly\. It says: "):
            probe(engine)
    with pytest.raises(Unreachable) as caught:
        probe(engine)
    assert not isinstance(caught.value, Refused)


def test_the_bounds_cost_no_round_trip(pooled_url: str) -> None:
    """They are part of the first statement of a transaction, and of no other."""
    engine = build_engine(pooled_url, application_name="test")
    statement = text("SELECT current_query()")
    with transaction(engine) as connection:
        first, second = (str(connection.execute(statement).scalar_one()) for _ in range(2))
    with autocommit(engine) as connection:
        alone = str(connection.execute(statement).scalar_one())
    assert second == statement.text
    begin, level = "BEGIN ISOLATION LEVEL READ COMMITTED; ", "SET TRANSACTION ISOLATION LEVEL"
    assert first.startswith(f"{begin}SELECT set_config(")
    assert alone == first.replace(begin, f"{level} READ COMMITTED; ")
    assert first.endswith("; " + statement.text)
    engine.dispose()
