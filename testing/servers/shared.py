"""Shared servers: real ones, from wheels, started once per run when a test first asks.

TEST_DATABASE_URL, TEST_BROKER_URL and TEST_CACHE_URL name servers to use instead; tests delete
all data there. A server that cannot start fails the tests that need it. A missing program that
pip cannot install skips them (testing/suite/left_out.py), but not in CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import redis
from psycopg2 import sql

from stack.servers.own import Servers
from stack.servers.postgres import OWNER
from stack.servers.server import Server, running
from testing.identity import IDENTITY
from testing.servers.throwaway import as_owner, throwaway_servers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """Make a folder that the servers' account can enter; it cannot enter pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="truepenny-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def servers(servers_folder: Path) -> Servers:
    return throwaway_servers(servers_folder)


@pytest.fixture(scope="session")
def database_url(servers: Servers, servers_folder: Path) -> Iterator[str]:
    """Start a migrated database that all tests share: each makes or deletes its own rows."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        migrate(given)
        yield given
        return
    postgres = servers.postgres()
    with running(postgres, log=servers_folder / "postgres.log"):
        _allow_databases(postgres.superuser_url)
        migrate(postgres.url)
        yield postgres.url


@pytest.fixture(scope="session")
def broker_url(servers: Servers, servers_folder: Path) -> Iterator[str]:
    yield from _url_of("TEST_BROKER_URL", servers.broker(), servers_folder)


@pytest.fixture(scope="module")
def empty_broker_url(broker_url: str) -> str:
    """Empty the shared broker, for a module that starts workers of its own."""
    with redis.Redis.from_url(broker_url) as broker:
        broker.flushall()
    return broker_url


@pytest.fixture(scope="session")
def cache_url(servers: Servers, servers_folder: Path) -> Iterator[str]:
    yield from _url_of("TEST_CACHE_URL", servers.cache(), servers_folder)


def _allow_databases(superuser_url: str) -> None:
    """Let the ledger's owner create databases, so that a test can have its own."""
    with closing(psycopg2.connect(superuser_url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(OWNER)))
        connection.commit()


def migrate(database_url: str, *, owner_url: str | None = None) -> None:
    """Run the migrations as `make up` does: in a process of their own, as the owner.

    owner_url: for a database that is not a throwaway one.
    """
    # The migrations use neither broker nor cache, but settings must be complete.
    elsewhere = {"BROKER_URL": "redis://127.0.0.1:1/0", "CACHE_URL": "redis://127.0.0.1:1/0"}
    environment = {
        **os.environ,
        **IDENTITY,
        **elsewhere,
        "DATABASE_URL": database_url,
        "MIGRATIONS_DATABASE_URL": owner_url or as_owner(database_url),
    }
    subprocess.run([sys.executable, "-m", "migrations"], cwd=ROOT, env=environment, check=True)


def _url_of(given_as: str, server: Server, folder: Path) -> Iterator[str]:
    given = os.environ.get(given_as)
    if given:
        yield given
        return
    with running(server, log=folder / f"{server.name}.log"):
        yield server.url
