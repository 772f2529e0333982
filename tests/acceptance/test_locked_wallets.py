"""Locked wallets, over HTTP: another session of the database locks one, and all others go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from ledger.clients import create_client
from ledger.postgres.database import transaction
from ledger.wallets import Wallet
from testing.bank import Bank
from testing.http_client import Caller
from testing.installation import api_and_workers
from testing.wallet_lock import RowLock, locked
from testing.worker_processes import BEAT, MONEY, SCANS, eventually

pytestmark = pytest.mark.acceptance

WITHIN_S = 4.0
"""In this time the transfers of all others settle: in 2 s, where no other tests run beside."""
ANSWERED_WITHIN_S = 1.0


@dataclass
class Running:
    """A Truepenny with two clients, one of which owns the wallet that will be locked."""

    bank: Bank
    blocked: Caller
    other: Caller

    def submit(self, caller: Caller, source: Wallet, destination: Wallet) -> UUID:
        """Submit a transfer of 1.00. Returns: its id, in much less time than it needs to settle."""
        body = {"source": str(source.id), "destination": str(destination.id)}
        began_s = time.monotonic()
        answer = caller.submit(body | {"asset": "USD", "amount": "1.00"})
        took_s = time.monotonic() - began_s
        assert answer.status_code == 202, answer.text
        assert took_s < ANSWERED_WITHIN_S
        return UUID(answer.json()["id"])

    def has_committed(self, *ids: UUID) -> bool:
        return self.bank.states(list(ids)) == {"committed"}


@pytest.fixture(scope="module")
def running(
    template_url: str,
    empty_broker_url: str,
    cache_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("locked")
    with api_and_workers(template_url, empty_broker_url, cache_url, folder) as started:
        started.workers.start(BEAT)
        started.workers.ready(SCANS, MONEY)
        callers = []
        for name in ("blocked", "other"):
            with transaction(started.bank.engine) as connection:
                _, key = create_client(connection, name=name, scope="admin", rate_limit="none")
            callers.append(Caller(started.port, key))
        yield Running(started.bank, *callers)


@pytest.mark.parametrize("lock", ["NO KEY UPDATE", "UPDATE"])
@pytest.mark.parametrize("role", ["source", "destination"])
def test_all_others_settle_while_a_wallet_is_locked(
    running: Running, role: str, lock: RowLock
) -> None:
    bank = running.bank
    wallets = [bank.wallet(1_000_00) for _ in range(2)]
    source, destination = bank.wallet(1_000_00), bank.wallet(1_000_00)
    stuck, slowest_s = [], 0.0
    with locked(bank.engine, wallets[0 if role == "source" else 1], lock=lock):
        for _ in range(10):
            # More and more comes for the locked wallet, in the same group and the same batch.
            stuck.append(running.submit(running.blocked, *wallets))
            began_s = time.monotonic()
            settles = running.submit(running.other, source, destination)
            eventually(lambda: running.has_committed(settles), within_s=30)  # noqa: B023
            slowest_s = max(slowest_s, time.monotonic() - began_s)
        assert not bank.states(stuck) & {"committed", "rejected", "rolled_back"}
    eventually(lambda: running.has_committed(*stuck), within_s=30)
    bank.audit()
    assert slowest_s < WITHIN_S
