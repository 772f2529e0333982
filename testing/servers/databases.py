"""Databases for tests: each test that asks gets its own copy of a migrated template.

Their URLs and engines are those of the role that serves, as in production. A test that meddles
with tables, triggers or final rows does that with `owner_engine` or `as_owner`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

from ledger.postgres.database import build_engine
from testing.bank import Bank
from testing.servers.shared import migrate
from testing.servers.throwaway import as_owner as as_owner_url

TEMPLATE = "truepenny_template"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def template_url(database_url: str) -> str:
    """Return the server's URL; its database TEMPLATE is migrated and otherwise empty."""
    _run(database_url, f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
    _run(database_url, f"CREATE DATABASE {TEMPLATE}")
    migrate(_with_database(database_url, TEMPLATE))
    return database_url


@contextmanager
def copied_database(template_url: str, *, template: str = TEMPLATE) -> Iterator[str]:
    """Make a database as a copy of `template`; by default, migrated and empty. Yields: its URL."""
    name = f"truepenny_test_{os.getpid()}_{next(_numbers)}"
    _run(template_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    _run(template_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _with_database(template_url, name)
    try:
        _run(template_url, f"DROP DATABASE {name} WITH (FORCE)")
    except ProgrammingError:
        # Autovacuum is working there. Only a superuser may force it out; without FORCE the
        # server asks it to stop, and waits.
        _run(template_url, f"DROP DATABASE {name}")


@pytest.fixture(scope="module")
def module_database_url(template_url: str) -> Iterator[str]:
    """Make a database that the tests of one module share."""
    with copied_database(template_url) as url:
        yield url


@pytest.fixture
def own_database_url(template_url: str) -> Iterator[str]:
    """Make a database for this test alone."""
    with copied_database(template_url) as url:
        yield url


@pytest.fixture
def engine(own_database_url: str) -> Iterator[Engine]:
    with engine_on(own_database_url) as engine:
        yield engine


@pytest.fixture
def bank(engine: Engine) -> Bank:
    return Bank(engine)


@pytest.fixture(scope="module")
def shared_bank(template_url: str) -> Iterator[Bank]:
    """Make one bank for all tests of a module; each uses its own wallets and settles all."""
    with copied_database(template_url) as url, engine_on(url) as engine:
        yield Bank(engine)


@contextmanager
def engine_on(url: str) -> Iterator[Engine]:
    """Build an engine for tests; disposed of at the end."""
    engine = build_engine(url, application_name="test")
    event.listen(engine, "connect", _hurry)
    yield engine
    engine.dispose()


@contextmanager
def empty_database(template_url: str) -> Iterator[Engine]:
    """Make a database without any migration. Yields: an engine of the role that will own it."""
    with copied_database(template_url, template="template1") as url:
        engine = build_engine(as_owner_url(url), application_name="test")
        yield engine
        engine.dispose()


@contextmanager
def owner_engine(engine: Engine) -> Iterator[Engine]:
    """Build an engine of the role that owns the tables, on the same database."""
    with engine.connect() as connection:
        info = connection.connection.dbapi_connection.info  # type: ignore[union-attr]
    url = f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"
    owner = build_engine(as_owner_url(url), application_name="test owner", accepts_any_server=True)
    yield owner
    owner.dispose()


@contextmanager
def as_owner(engine: Engine) -> Iterator[Connection]:
    """Run the block in one transaction of the role that owns the tables."""
    with owner_engine(engine) as owner, owner.begin() as connection:
        yield connection


def _hurry(connection: Any, _: object) -> None:
    """Commit without waiting for the disk: no test crashes this server."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
    connection.commit()


def _with_database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _run(url: str, statement: str) -> None:
    drivername = make_url(as_owner_url(url)).set(drivername="postgresql+psycopg2")
    engine = create_engine(drivername, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
