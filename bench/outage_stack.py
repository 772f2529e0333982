"""Starts what a benchmark measures: Truepenny's processes on servers of their own."""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from ledger.buffer.entries import IntakeBuffer
from ledger.clients import Client, create_client
from ledger.errors import Unavailable
from ledger.postgres.database import build_engine, transaction
from ledger.wallets import Wallet
from settings import Settings
from stack.servers.home import find_home
from stack.servers.kept_values import KeptValues
from stack.servers.own import Servers
from stack.servers.ports import LOOPBACK, free_port
from tasks.buffer.intake_buffer import intake_buffer
from testing.bank import Bank
from testing.http_client import serving
from testing.identity import IDENTITY
from testing.servers.breakable import Breakable, breakable
from testing.servers.rabbitmq import RabbitMQ
from testing.servers.shared import migrate
from testing.worker_processes import BEAT, MONEY, SCANS, workers_on

PATIENCE_S = 300.0


@dataclass
class OutageStack:
    """Everything that a benchmark uses. Each of its transfers moves one US cent."""

    broker_kind: str
    database: Breakable
    buffer: IntakeBuffer
    bank: Bank
    owner: Client
    source: Wallet
    destination: Wallet
    address: str
    api_key: str

    def submit(self, session: requests.Session) -> requests.Response:
        """Submit one transfer."""
        return session.post(
            f"{self.address}/v1/transfers",
            json={
                "source": str(self.source.id),
                "destination": str(self.destination.id),
                "asset": "USD",
                "amount": "0.01",
            },
            headers={
                "Authorization": f"Bearer {self.api_key}",
                "Idempotency-Key": str(uuid.uuid4()),
            },
            timeout=30,
        )

    def until(self, holds: Callable[[], bool]) -> float:
        """Wait until `holds()`, also while a server is away. Returns: the time when it did."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                if holds():
                    return time.monotonic()
            except Unavailable:
                time.sleep(0.1)
            if time.monotonic() > deadline_s:
                raise SystemExit(f"gave up after waiting {PATIENCE_S:g} s")
            time.sleep(0.02)

    def until_accepted(self) -> float:
        """Wait until the database accepts a transfer again."""
        with requests.Session() as session:
            return self.until(lambda: self.submit(session).json().get("state") == "accepted")

    def until_settled(self) -> float:
        """Wait until no transfer is buffered or unfinished."""
        self.bank.engine.dispose()
        return self.until(lambda: self.buffer.count() == 0 and self.bank.unfinished() == 0)


@contextmanager
def start_outage_stack(broker_kind: str) -> Iterator[OutageStack]:
    """Start everything; its data is deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="truepenny-bench-"))
    folder.chmod(0o711)  # the servers' account passes through
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        home = find_home(folder, say=print)
        servers = Servers(home, KeptValues(folder / "secrets"))
        rabbitmq = RabbitMQ(home, free_port(), free_port(), free_port(), uuid.uuid4().hex)
        postgres = servers.postgres()
        database, broker, cache = (
            stack.enter_context(breakable(server, folder / f"{server.name}.log"))
            for server in (
                postgres,
                rabbitmq if broker_kind == "rabbitmq" else servers.broker(),
                servers.cache(),
            )
        )
        migrate(postgres.url, owner_url=postgres.owner_url)
        urls = {
            **IDENTITY,
            "DATABASE_URL": database.url,
            "BROKER_URL": broker.url,
            "CACHE_URL": cache.url,
        }
        workers = stack.enter_context(workers_on(database.url, broker.url, cache.url, folder))
        workers.start(BEAT)
        workers.ready(MONEY, SCANS)
        port = stack.enter_context(serving(log=folder / "api.log", **urls))
        engine = build_engine(database.url, application_name="bench")
        stack.callback(engine.dispose)
        buffer = intake_buffer(Settings.from_environment(urls))
        stack.callback(buffer.close)
        bank = Bank(engine)
        with transaction(engine) as connection:
            owner, api_key = create_client(
                connection, name="bench", scope="client", rate_limit="none"
            )
        yield OutageStack(
            broker_kind,
            database,
            buffer,
            bank,
            owner,
            bank.wallet(100_000_000_00, owner=owner),
            bank.wallet(owner=owner),
            f"http://{LOOPBACK}:{port}",
            api_key,
        )
