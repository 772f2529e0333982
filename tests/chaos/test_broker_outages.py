"""Broker outages under HTTP load: either kind is killed, hung, flapping, emptied or full.

The API keeps accepting, all accepted transfers commit soon after, no process ends, and none
floods its log.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from ledger.clients import create_client
from ledger.postgres.database import transaction
from testing.http_client import Caller, serving
from testing.load import Load, load_on
from testing.servers.brokers import Broker
from testing.worker_processes import eventually
from tests.chaos.scenario import Scenario

pytestmark = pytest.mark.chaos

LINES_PER_S = 5
"""How much a process may log while the broker is away, ..."""
LINES_AT_ONCE = 60
"""... and at the beginning and the end: a few tracebacks of interrupted work."""


@dataclass
class Api:
    """An API on the scenario, and a transfer between two wallets."""

    caller: Caller
    transfer: dict[str, Any]


@pytest.fixture(scope="module")
def api(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    scenario.worker()
    with transaction(scenario.engine) as connection:
        client, key = create_client(connection, name="load", scope="client", rate_limit="none")
    source = scenario.bank.wallet(1_000_000_00, owner=client)
    destination = scenario.bank.wallet(owner=client)
    transfer = {"source": str(source.id), "destination": str(destination.id)}
    transfer |= {"asset": "USD", "amount": "0.01"}
    log = tmp_path_factory.mktemp("api") / "gunicorn.log"
    with serving(log=log, **scenario.workers.environment) as port:
        yield Api(Caller(port, key), transfer)


@contextmanager
def outage_of(scenario: Scenario, api: Api) -> Iterator[Load]:
    """Run load before, during and after the block; then all accepted transfers must commit."""
    before = {each.log: len(each.log.read_text().splitlines()) for each in scenario.workers.started}
    started_s = time.monotonic()
    with load_on(api.caller, api.transfer) as load:
        load.goes_on()
        yield load
        load.goes_on()
    scenario.settles(load.accepted)
    allowed = LINES_AT_ONCE + LINES_PER_S * (time.monotonic() - started_s)
    for each in scenario.workers.started:
        assert each.is_alive, each.log.read_text()[-3000:]
        lines = each.log.read_text().splitlines()[before[each.log] :]
        assert len(lines) <= allowed, "\n".join(lines[-50:])


def test_a_broker_that_is_killed_and_comes_back_stops_nobody(
    scenario: Scenario, api: Api, broker: Broker
) -> None:
    with outage_of(scenario, api) as load:
        broker.process.kill()
        load.goes_on(100)
        broker.process.start()
    assert not load.refused


def test_no_request_waits_for_a_broker_that_hangs(
    scenario: Scenario, api: Api, broker: Broker
) -> None:
    with outage_of(scenario, api) as load, broker.process.frozen():
        load.goes_on(100)  # all of them were answered, and the broker has not moved
    assert not load.refused


def test_a_broker_that_comes_and_goes_stops_nobody(
    scenario: Scenario, api: Api, broker: Broker
) -> None:
    with outage_of(scenario, api) as load:
        for _ in range(3):
            broker.process.kill()
            broker.process.start()
            load.goes_on(5)
    assert not load.refused


def test_a_broker_emptied_again_and_again_loses_nothing(
    scenario: Scenario, api: Api, broker: Broker
) -> None:
    with outage_of(scenario, api) as load:
        for _ in range(5):
            broker.empty()
            load.goes_on()
    assert not load.refused


def test_a_broker_emptied_and_killed_at_once_stops_nobody(
    scenario: Scenario, api: Api, broker: Broker
) -> None:
    with outage_of(scenario, api) as load:
        broker.empty()
        load.goes_on(5)
        broker.process.kill()
        broker.process.start()
    assert not load.refused


def test_a_full_broker_makes_the_api_refuse_and_loses_nothing(
    scenario: Scenario, api: Api, broker: Broker
) -> None:
    with outage_of(scenario, api) as load:
        broker.fill()
        try:
            eventually(lambda: load.refused)
            assert api.caller.get("/v1/transfers?limit=1").ok  # reading goes on
            batch = {"transfers": [api.transfer | {"idempotency_key": "a batch"}]}
            eventually(lambda: api.caller.post("/v1/transfers/batch", batch).status_code == 503)
        finally:
            broker.make_room()
    assert {answer.status_code for answer in load.refused} == {503}
    problem = load.refused[0].json()
    assert problem["code"] == "overloaded"
    assert load.refused[0].headers["Retry-After"] == "5"
