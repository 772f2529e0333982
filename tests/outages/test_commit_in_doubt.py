"""A commit whose wait for the synchronous standby is cancelled: in doubt, not taken as done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from ledger.buffer.entries import Buffered
from ledger.buffer.replaying import replay
from ledger.clients import create_client
from ledger.errors import Disposition, InDoubt, disposition
from ledger.postgres.database import autocommit, build_engine, transaction
from stack.servers.postgres import Postgres
from stack.servers.server import running
from testing.bank import Bank
from testing.http_client import Caller, serving
from testing.servers.own_servers import own_servers
from testing.servers.shared import migrate
from testing.servers.standby import run
from testing.worker_processes import eventually

pytestmark = pytest.mark.chaos
Opened = Callable[[Engine], AbstractContextManager[Connection]]
CANCEL = """SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
            WHERE wait_event = 'SyncRep' AND datname = 'truepenny'"""


@pytest.fixture(scope="module")
def postgres(servers_folder: Path) -> Iterator[Postgres]:
    servers = own_servers(servers_folder)
    postgres = servers.postgres()
    with running(postgres, log=servers.home.data / "postgres.log"):
        migrate(postgres.url)
        yield postgres


@pytest.fixture
def bank(postgres: Postgres) -> Iterator[Bank]:
    engine = build_engine(postgres.url, application_name="test")
    yield Bank(engine)
    engine.dispose()


@contextmanager
def standby_gone(postgres: Postgres) -> Iterator[None]:
    run(postgres, "ALTER SYSTEM SET synchronous_standby_names = 'gone'")
    run(postgres, "SELECT pg_reload_conf()")
    eventually(lambda: run(postgres, "SHOW synchronous_standby_names") == "gone")
    try:
        yield
    finally:
        run(postgres, "ALTER SYSTEM RESET synchronous_standby_names")
        run(postgres, "SELECT pg_reload_conf()")
        eventually(lambda: run(postgres, "SHOW synchronous_standby_names") == "")


def cancelled(postgres: Postgres, work: Callable[[], Any]) -> Future[Any]:
    """Run the work, and cancel each of its waits for the standby. Returns: how it ended."""
    with standby_gone(postgres), ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        eventually(lambda: bool(run(postgres, CANCEL)))
        eventually(lambda: run(postgres, CANCEL) == 0 and done.done())
    return done


@pytest.mark.parametrize("opened", [transaction, autocommit])
def test_a_cancelled_wait_for_the_standby_is_no_success(
    postgres: Postgres, bank: Bank, opened: Opened
) -> None:
    wallet = bank.wallet()

    def rename() -> None:
        with opened(bank.engine) as connection:
            change = text("UPDATE wallets SET name = 'changed' WHERE id = :id")
            connection.execute(change, {"id": wallet.id})

    error = cancelled(postgres, rename).exception()
    assert isinstance(error, InDoubt)
    assert "synchronous replication" in str(error)
    assert disposition(error) is Disposition.RETRY
    assert bank.look(wallet).name == "changed"  # it has committed here


def test_a_buffered_request_that_is_known_stays_until_its_commit_is_confirmed(
    postgres: Postgres, bank: Bank
) -> None:
    request = bank.request(bank.wallet(100), bank.wallet(), 60)
    bank.accept(request)

    def drain() -> None:
        with transaction(bank.engine) as connection:
            replay(connection, [Buffered(request, datetime.now(UTC))])

    assert isinstance(cancelled(postgres, drain).exception(), InDoubt)


def test_the_api_does_not_answer_that_it_is_recorded(
    postgres: Postgres, bank: Bank, broker_url: str, cache_url: str, tmp_path: Path
) -> None:
    with transaction(bank.engine) as connection:
        owner, key = create_client(connection, name="x", scope="client", rate_limit="none")
    source, destination = bank.wallet(100_00, owner=owner), bank.wallet(owner=owner)
    body = {"source": str(source.id), "destination": str(destination.id)}
    urls = {"DATABASE_URL": postgres.url, "BROKER_URL": broker_url, "CACHE_URL": cache_url}
    with serving(log=tmp_path / "api.log", API_PROCESSES="1", **urls) as port:
        caller = Caller(port, key)
        assert caller.get("/v1/wallets").ok
        answer = cancelled(
            postgres, lambda: caller.submit({**body, "asset": "USD", "amount": "1.00"}, key="once")
        ).result()
    # On the disk of the broker, until the database confirms it.
    assert (answer.status_code, answer.json()["state"]) == (HTTPStatus.ACCEPTED, "buffered")
    assert "intake_not_recorded" in (tmp_path / "api.log").read_text()
