"""Fair claims, over HTTP: one client's backlog is not everybody's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.clients import create_client
from ledger.postgres.database import transaction
from testing.http_client import Caller
from testing.installation import ApiAndWorkers, api_and_workers
from testing.servers.brokers import Broker
from testing.worker_processes import BEAT, MONEY, SCANS, eventually

pytestmark = pytest.mark.acceptance

FLOOD = 40_000
WITHIN_S = 4.0
"""A single settles in less than a second, where no other tests run beside."""


@pytest.fixture(scope="module")
def running(
    template_url: str, broker: Broker, cache_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ApiAndWorkers, Caller]]:
    folder: Path = tmp_path_factory.mktemp("fair")
    with api_and_workers(template_url, broker.url, cache_url, folder) as started:
        started.workers.start(BEAT)
        started.workers.ready(SCANS)
        with transaction(started.bank.engine) as connection:
            started.bank.client, key = create_client(
                connection, name="other", scope="client", rate_limit="none"
            )
        yield started, Caller(started.port, key)


def test_a_single_settles_behind_a_flood_of_another_client(
    running: tuple[ApiAndWorkers, Caller],
) -> None:
    started, caller = running
    bank = started.bank
    flooding = bank.new_client()
    full, empty = bank.wallet(FLOOD, owner=flooding), bank.wallet(owner=flooding)
    source, destination = bank.wallet(100_00), bank.wallet()
    body = {"source": str(source.id), "destination": str(destination.id), "asset": "USD"}
    for _ in range(FLOOD // 5_000):
        bank.accept(*(bank.request(full, empty, 1, client=flooding) for _ in range(5_000)))
    started.workers.ready(MONEY)
    took_s = []
    for _ in range(3):
        began_s = time.monotonic()
        answer = caller.submit(body | {"amount": "1.00"}, prefer="wait=30")
        took_s.append(time.monotonic() - began_s)
        assert answer.status_code == 201, answer.text
    left = bank.unfinished()
    assert max(took_s) < WITHIN_S
    assert left > 0, "the flood had settled before"
    eventually(lambda: bank.unfinished() == 0, within_s=120)
    bank.audit()
