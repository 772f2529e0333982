"""Installation: a whole Truepenny for tests, with servers that a test may break."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine

from ledger.buffer.entries import Buffered, IntakeBuffer
from ledger.clients import Client, create_client
from ledger.postgres.database import build_engine, transaction
from ledger.wallets import Wallet
from settings import Settings
from tasks.buffer.intake_buffer import intake_buffer
from testing.bank import Bank
from testing.http_client import Caller, serving
from testing.identity import IDENTITY
from testing.servers.breakable import Breakable
from testing.servers.brokers import Broker
from testing.servers.databases import copied_database
from testing.standstill import standstill_report
from testing.worker_processes import (
    BEAT,
    MONEY,
    SCANS,
    CeleryProcess,
    Workers,
    eventually,
    workers_on,
)

SETTLE_WITHIN_S = 30.0


@dataclass
class Installation:
    """Database, broker, API, workers and beat, with two clients. All transfers are in USD."""

    database: Breakable
    broker: Broker
    engine: Engine
    bank: Bank
    workers: Workers
    owner: Client
    client: Caller
    """Calls the API as `owner` of `source`, which holds 1,000,000 USD."""
    stranger: Caller
    """Another client, which owns neither wallet."""
    source: Wallet
    destination: Wallet
    environment: dict[str, str]
    folder: Path

    def body(self, amount: str = "1.00", **changes: object) -> dict[str, object]:
        """Return the body of a transfer."""
        return {
            "source": str(self.source.id),
            "destination": str(self.destination.id),
            "asset": "USD",
            "amount": amount,
            **changes,
        }

    def state(self, transfer_id: str) -> str:
        return str(self.client.get(f"/v1/transfers/{transfer_id}").json().get("state"))

    def settles(self, ids: list[str], state: str = "committed") -> None:
        """Wait until all are in this state and the buffer is empty; then audit the ledger."""
        eventually(
            lambda: self.bank.states([uuid.UUID(id) for id in ids]) == {state},
            within_s=SETTLE_WITHIN_S,
            report=lambda: standstill_report(self.engine, self.workers),
        )
        eventually(lambda: self.buffer.count() == 0)
        self.bank.audit()

    @cached_property
    def buffer(self) -> IntakeBuffer:
        return intake_buffer(Settings.from_environment(self.environment))

    def buffer_directly(self, count: int, *, amount_minor: int = 100) -> list[uuid.UUID]:
        """Put requests into the buffer, as the API does while the database is away."""
        requests = [
            Buffered(
                self.bank.request(self.source, self.destination, amount_minor, client=self.owner),
                datetime.now(UTC),
            )
            for _ in range(count)
        ]
        self.buffer.put(requests)
        return [each.id for each in requests]

    def scanning_worker(self) -> CeleryProcess:
        """Return the live scanning worker; start one if there is none."""
        for worker in self.workers.started:
            if worker.arguments == SCANS and worker.is_alive:
                return worker
        return self.workers.ready(SCANS)[0]

    def is_away(self) -> bool:
        """Return whether every API process has noticed that the database is away."""
        return self._all_say(503)

    def is_back(self) -> bool:
        return self._all_say(200)

    def _all_say(self, status: int) -> bool:
        """Send requests over enough new connections to reach every process of the API."""
        callers = [Caller(self.client.port, self.client.api_key) for _ in range(8)]
        return all(caller.get("/v1/wallets").status_code == status for caller in callers)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Kill the database; start it again at the end."""
        self.database.kill()
        try:
            eventually(self.is_away)
            yield
        finally:
            self.database.start()
        self.engine.dispose()
        eventually(self.is_back)

    @contextmanager
    def another_api(self, name: str, **environment: str) -> Iterator[Caller]:
        """Start a second API beside the first, for the same client."""
        log = self.folder / f"{name}.log"
        own = {"DATA_DIR": str(self.folder / name)}
        with serving(log=log, **(self.environment | own | environment)) as port:
            yield Caller(port, self.client.api_key)


@contextmanager
def running_installation(
    database: Breakable,
    database_url: str,
    broker: Broker,
    cache_url: str,
    folder: Path,
    *,
    broker_url: str | None = None,
) -> Iterator[Installation]:
    """Start everything on a database that is running and migrated.

    broker_url: where it is another one than the broker's own.
    """
    broker_url = broker_url or broker.url
    own = {
        **IDENTITY,
        "DATABASE_URL": database_url,
        "BROKER_URL": broker_url,
        "CACHE_URL": cache_url,
        "STUCK_AFTER_S": "1",
        "DATA_DIR": str(folder),
    }
    engine = build_engine(database_url, application_name="test")
    with (
        workers_on(database_url, broker_url, cache_url, folder) as workers,
        serving(log=folder / "api.log", **own) as port,
    ):
        workers.start(BEAT)
        workers.ready(MONEY, SCANS)
        everything = _with_clients(database, broker, engine, workers, port, own, folder)
        yield everything
        everything.buffer.close()
    engine.dispose()


@dataclass(frozen=True)
class ApiAndWorkers:
    """An API on a database of its own, and workers that the test starts."""

    bank: Bank
    workers: Workers
    port: int
    api_log: Path


@contextmanager
def api_and_workers(
    template_url: str, broker_url: str, cache_url: str, folder: Path, **environment: str
) -> Iterator[ApiAndWorkers]:
    """Start an API on a new database and an empty broker; `environment` is for the API alone."""
    log = folder / "api.log"
    with copied_database(template_url) as database_url:
        urls = {
            **IDENTITY,
            "DATABASE_URL": database_url,
            "BROKER_URL": broker_url,
            "CACHE_URL": cache_url,
        }
        engine = build_engine(database_url, application_name="test")
        with (
            workers_on(database_url, broker_url, cache_url, folder) as workers,
            serving(log=log, **urls, **environment) as port,
        ):
            yield ApiAndWorkers(Bank(engine), workers, port, log)
        engine.dispose()


def _with_clients(
    database: Breakable,
    broker: Broker,
    engine: Engine,
    workers: Workers,
    port: int,
    environment: dict[str, str],
    folder: Path,
) -> Installation:
    bank = Bank(engine)
    owner, client = _caller(engine, port, "client")
    _, stranger = _caller(engine, port, "stranger")
    return Installation(
        database=database,
        broker=broker,
        engine=engine,
        bank=bank,
        workers=workers,
        owner=owner,
        client=client,
        stranger=stranger,
        source=bank.wallet(100_000_000, owner=owner),
        destination=bank.wallet(owner=owner),
        environment=environment,
        folder=folder,
    )


def _caller(engine: Engine, port: int, name: str) -> tuple[Client, Caller]:
    with transaction(engine) as connection:
        client, api_key = create_client(connection, name=name, scope="client", rate_limit="none")
    known = Caller(port, api_key)
    assert known.get("/v1/wallets").ok  # an outage only serves clients seen before it
    return client, known
