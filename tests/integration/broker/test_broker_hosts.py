"""Several hosts in BROKER_URL: when the first node dies, every part goes on with the second.

The two nodes are no cluster, so what is on one is not on the other: it shows where each part is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger.buffer.entries import Buffered, IntakeBuffer, Kept
from ledger.postgres.database import build_engine
from monitoring.health.broker_probe import broker_probe
from monitoring.health.checks import broker_check
from settings import Settings
from stack.servers.home import Home
from tasks import chain
from tasks.broker import queues
from tasks.broker.backpressure import BackpressureGauge
from tasks.broker.kick import Kicker
from tasks.buffer.intake_buffer import intake_buffer
from tasks.buffer.rabbitmq_queue import QUEUE
from testing.bank import Bank
from testing.identity import IDENTITY
from testing.servers.brokers import RabbitBroker, own_rabbitmq
from testing.worker_processes import eventually
from workers.celery_app import make_celery

WITHIN_S = 5.0
_OLD_ENOUGH_S = 2.0
"""A quorum queue that is younger when its only node is killed may come back dead, or not at all."""


@dataclass(frozen=True)
class Nodes:
    """Two nodes of which the first can be dead."""

    first: RabbitBroker
    second: RabbitBroker
    settings: Settings

    def waiting(self, name: str) -> tuple[int, int]:
        """Return how many messages wait in a queue, on each node."""
        return self.first.waiting(name), self.second.waiting(name)


@pytest.fixture(scope="module")
def both(brokers_place: Home, servers_folder: Path, cache_url: str) -> Iterator[Nodes]:
    log = servers_folder / "two-nodes.log"
    with (
        own_rabbitmq(brokers_place, log, name="first-node") as first,
        own_rabbitmq(brokers_place, log, name="second-node") as second,
    ):
        settings = Settings.from_environment(
            {
                **IDENTITY,
                "DATABASE_URL": "postgresql://nowhere",
                "BROKER_URL": f"{first.url};{second.url}",
                "CACHE_URL": cache_url,
            }
        )
        yield Nodes(first, second, settings)


@pytest.fixture
def nodes(both: Nodes) -> Nodes:
    if not both.first.process.runs:
        both.first.process.start()
    for node in (both.first, both.second):
        node.empty()
    return both


@pytest.fixture
def buffer(nodes: Nodes) -> Iterator[IntakeBuffer]:
    with closing(intake_buffer(nodes.settings)) as buffer:
        yield buffer


@pytest.fixture
def requests(own_database_url: str) -> list[list[Buffered]]:
    bank = Bank(build_engine(own_database_url, application_name="test"))
    source, destination = bank.wallet(), bank.wallet()
    made = [
        [Buffered(bank.request(source, destination, 1), datetime.now(UTC)) for _ in range(3)]
        for _ in range(3)
    ]
    bank.engine.dispose()
    return made


def is_kept(buffer: IntakeBuffer, requests: list[Buffered]) -> bool:
    return all(isinstance(answer, Kept) for answer in buffer.put(requests))


def test_the_buffer_keeps_and_gives_out_requests_on_the_second_node(
    nodes: Nodes, buffer: IntakeBuffer, requests: list[list[Buffered]]
) -> None:
    assert is_kept(buffer, requests[0])
    assert nodes.waiting(QUEUE) == (3, 0)
    time.sleep(_OLD_ENOUGH_S)
    nodes.first.process.kill()
    assert is_kept(buffer, requests[1])
    assert nodes.second.waiting(QUEUE) == 3
    with closing(intake_buffer(nodes.settings)) as started_later:
        assert is_kept(started_later, requests[2])
    assert buffer.count() == 6
    found = buffer.first(10)
    assert len(found) == 6
    buffer.remove(found)
    assert buffer.count() == 0
    # What is on the first node is still there when it is back.
    nodes.first.process.start()
    eventually(lambda: nodes.waiting(QUEUE) == (3, 0))


def test_a_first_node_that_stands_still_costs_the_buffer_a_bounded_time(
    nodes: Nodes, buffer: IntakeBuffer, requests: list[list[Buffered]]
) -> None:
    assert is_kept(buffer, requests[0])
    with nodes.first.process.frozen():
        begun_s = time.monotonic()
        assert is_kept(buffer, requests[1])
        assert time.monotonic() - begun_s < WITHIN_S
        begun_s = time.monotonic()
        assert is_kept(buffer, requests[2])
        assert time.monotonic() - begun_s < 1.0, "the second node is asked first now"
        assert nodes.second.waiting(QUEUE) == 6


def test_kicks_and_counts_go_to_the_second_node(nodes: Nodes) -> None:
    app = make_celery(nodes.settings)
    kicker = Kicker(app)
    kicker.kick()
    eventually(lambda: nodes.waiting(queues.RESERVE) == (1, 0))
    nodes.first.process.kill()
    kicker.kick()
    eventually(lambda: nodes.second.waiting(queues.RESERVE) == 1)
    chain.kick()
    assert queues.lengths(app)[queues.RESERVE] == 2
    app.close()


def test_pressure_and_health_are_those_of_the_second_node(nodes: Nodes) -> None:
    gauge = BackpressureGauge(broker_probe(nodes.settings.broker_url))
    check = broker_check(gauge.read_now)
    assert check().status == "ok"
    nodes.first.process.kill()
    assert check().status == "ok"
    nodes.second.fill()
    try:
        eventually(gauge.is_overloaded)
        assert (check().status, check().refuses) == ("degraded", True)
    finally:
        nodes.second.make_room()
    eventually(lambda: not gauge.is_overloaded())
    assert check().status == "ok"
