"""A database of its own for each test that wants one: a copy of a migrated template."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url

from ledger.database import build_engine
from tests.bank import Bank
from tests.servers import migrate

TEMPLATE = "truepenny_template"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def template_url(database_url: str) -> str:
    """The server's address; the database TEMPLATE on it is migrated and otherwise empty."""
    _run(database_url, f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
    _run(database_url, f"CREATE DATABASE {TEMPLATE}")
    migrate(_with_database(database_url, TEMPLATE))
    return database_url


@pytest.fixture
def own_database_url(template_url: str) -> Iterator[str]:
    """The address of a migrated, empty database that no other test sees."""
    name = f"truepenny_test_{next(_numbers)}"
    _run(template_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    _run(template_url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield _with_database(template_url, name)
    _run(template_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def engine(own_database_url: str) -> Iterator[Engine]:
    engine = build_engine(own_database_url, application_name="test")
    yield engine
    engine.dispose()


@pytest.fixture
def bank(engine: Engine) -> Bank:
    return Bank(engine)


def _with_database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _run(url: str, statement: str) -> None:
    drivername = make_url(url).set(drivername="postgresql+psycopg2")
    engine = create_engine(drivername, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
