"""Fixtures of the client's tests: the real API and workers, and clients of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from ledger.clients import Client, Scope, create_client
from ledger.postgres.database import transaction
from ledger.wallets import Wallet
from stack.servers.ports import LOOPBACK
from testing.bank import Bank
from testing.installation import api_and_workers
from testing.worker_processes import MONEY, SCANS
from truepenny import AsyncTruepenny, Truepenny


@dataclass
class Engine:
    """A running Truepenny, and how to reach it."""

    bank: Bank
    port: int
    keys: dict[Scope, str] = field(default_factory=dict)
    owners: dict[Scope, Client] = field(default_factory=dict)

    def new_key(self, scope: Scope, **limits: str) -> tuple[Client, str]:
        with transaction(self.bank.engine) as connection:
            return create_client(
                connection, name=scope, scope=scope, rate_limit=limits.get("rate_limit", "none")
            )

    def client(self, scope: Scope = "client", *, port: int | None = None) -> Truepenny:
        return Truepenny(
            base_url=f"http://{LOOPBACK}:{port or self.port}", api_key=self.keys[scope]
        )

    def async_client(self, *, port: int | None = None) -> AsyncTruepenny:
        return AsyncTruepenny(
            base_url=f"http://{LOOPBACK}:{port or self.port}", api_key=self.keys["client"]
        )

    def wallet(self, funds: Decimal | int = 0) -> Wallet:
        return self.bank.wallet(int(Decimal(funds) * 100), owner=self.owners["client"])


@pytest.fixture(scope="package")
def engine_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="truepenny-client-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def running(
    template_url: str, broker_url: str, cache_url: str, engine_folder: Path
) -> Iterator[Engine]:
    folder = Path(tempfile.mkdtemp(dir=engine_folder))
    with api_and_workers(template_url, broker_url, cache_url, folder) as started:
        started.workers.ready(MONEY, SCANS)
        everything = Engine(started.bank, started.port)
        for scope in ("client", "admin"):
            owner, key = everything.new_key(scope)
            everything.owners[scope], everything.keys[scope] = owner, key
        yield everything


@pytest.fixture
def tp(running: Engine) -> Iterator[Truepenny]:
    with running.client() as client:
        yield client


@pytest.fixture
def admin(running: Engine) -> Iterator[Truepenny]:
    with running.client("admin") as client:
        yield client
