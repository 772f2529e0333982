"""Fixtures of a running API: gunicorn, a real database, an admin, a client, funded wallets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from ledger.clients import create_client
from ledger.keys.credentials import find_credential
from ledger.postgres.database import autocommit, build_engine, transaction
from ledger.wallets import Wallet
from testing.bank import Bank
from testing.http_client import Caller, serving
from testing.identity import KEY_PREFIX
from tests.acceptance.http.limited_api import LimitedApi, limited_api

Unchanged = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def api_engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url, application_name="test")
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def api_port(
    database_url: str, broker_url: str, cache_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    with serving(
        log=tmp_path_factory.mktemp("api") / "gunicorn.log",
        DATABASE_URL=database_url,
        BROKER_URL=broker_url,
        CACHE_URL=cache_url,
    ) as port:
        yield port


@pytest.fixture(autouse=True)
def nothing_is_buffered(request: pytest.FixtureRequest) -> None:
    """Empty the buffer: no worker does it here, and requests without funds queue behind it."""
    if "api_port" in request.fixturenames:
        with redis.Redis.from_url(request.getfixturevalue("broker_url")) as broker:
            broker.delete(f"{KEY_PREFIX}intake", f"{KEY_PREFIX}intake:requests")


@pytest.fixture(scope="package")
def limited(
    database_url: str,
    broker_url: str,
    api_engine: Engine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LimitedApi]:
    """APIs with rate limits, on a cache that a test may break and must repair."""
    with limited_api(
        database_url=database_url,
        broker_url=broker_url,
        engine=api_engine,
        logs=tmp_path_factory.mktemp("limited"),
    ) as api:
        yield api


@pytest.fixture(scope="session")
def api_bank(api_engine: Engine) -> Bank:
    """The bank behind the API; its `settle` stands in for the workers."""
    return Bank(api_engine)


@pytest.fixture(scope="session")
def new_caller(api_port: int, api_engine: Engine) -> Callable[[str], Caller]:
    def make(scope: str) -> Caller:
        with transaction(api_engine) as connection:
            _, api_key = create_client(
                connection,
                name=f"test {scope}",
                scope="admin" if scope == "admin" else "client",
                rate_limit="none",
            )
        return Caller(api_port, api_key)

    return make


@pytest.fixture(scope="session")
def admin(new_caller: Callable[[str], Caller]) -> Caller:
    return new_caller("admin")


@pytest.fixture(scope="session")
def client(new_caller: Callable[[str], Caller]) -> Caller:
    return new_caller("client")


@pytest.fixture(scope="session")
def stranger(new_caller: Callable[[str], Caller]) -> Caller:
    """Another client; it owns none of `client`'s wallets."""
    return new_caller("client")


@dataclass(frozen=True)
class WalletPair:
    """A client's two wallets; the source holds 100.00 USD."""

    source: Wallet
    destination: Wallet

    def transfer(self, amount: Any = "12.50", **changes: Any) -> dict[str, Any]:
        """Return the body of a transfer from one to the other."""
        body = {
            "source": str(self.source.id),
            "destination": str(self.destination.id),
            "amount": amount,
            "asset": "USD",
        }
        return body | changes


@pytest.fixture
def wallet_pair(api_bank: Bank, api_engine: Engine, client: Caller) -> WalletPair:
    assert client.api_key is not None
    with autocommit(api_engine) as connection:
        found = find_credential(connection, client.api_key)
    assert found is not None
    owner = found.credential.client
    return WalletPair(api_bank.wallet(100_00, owner=owner), api_bank.wallet(owner=owner))


@pytest.fixture
def unchanged(api_engine: Engine) -> Unchanged:
    """Return a context manager that asserts that its block changes no row and no balance."""

    def snapshot() -> Any:
        with autocommit(api_engine) as connection:
            return connection.execute(text(_SNAPSHOT)).one()

    @contextmanager
    def check() -> Iterator[None]:
        before = snapshot()
        yield
        assert snapshot() == before

    return check


_SNAPSHOT = """
SELECT (SELECT count(*) FROM transfers) AS transfers,
       (SELECT count(*) FROM unfinished) AS unfinished,
       (SELECT count(*) FROM outcomes) AS outcomes,
       (SELECT count(*) FROM postings) AS postings,
       (SELECT count(*) FROM events) AS events,
       (SELECT count(*) FROM clients) AS clients,
       (SELECT md5(string_agg(wallets::text, ' ' ORDER BY id)) FROM wallets) AS wallets
"""
