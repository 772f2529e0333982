"""Broker use: both kinds answer in bounded time, count messages, and redeliver retries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import Engine

from ledger.ids import new_id
from settings import Settings
from tasks import chain
from tasks.broker import queues
from tasks.in_place import LINK_S
from testing.bank import Bank
from testing.commit_gate import gate_before_commit_of
from testing.servers.brokers import Broker
from testing.worker_processes import MONEY, Workers, eventually, workers_on
from workers.celery_app import make_celery


@pytest.fixture
def workers(
    own_database_url: str, broker: Broker, cache_url: str, tmp_path: Path
) -> Iterator[Workers]:
    """Start a money worker without beat and scans: only the broker can bring a task back."""
    with workers_on(own_database_url, broker.url, cache_url, tmp_path) as started:
        yield started


@pytest.fixture
def app(workers: Workers) -> Celery:
    return make_celery(Settings.from_environment(workers.environment))


@pytest.mark.usefixtures("app")
def test_a_step_that_was_cut_off_is_retried_without_a_scan(
    workers: Workers, bank: Bank, engine: Engine
) -> None:
    workers.ready(MONEY)
    source, destination = bank.wallet(1_000), bank.wallet()
    with gate_before_commit_of(engine, "deduct") as gate:
        [id] = bank.accept(bank.request(source, destination, 400))
        chain.kick()
        for _ in range(2):
            eventually(gate.waiting)
            gate.cut_off()
        eventually(gate.waiting)
        gate.open()
        eventually(lambda: bank.state(id) == "committed")
    assert "retried" in bank.timeline(id)
    bank.audit()


@pytest.mark.usefixtures("app")
def test_a_link_that_has_not_enough_time_left_goes_through_the_broker(
    workers: Workers, bank: Bank, engine: Engine, broker: Broker
) -> None:
    workers.ready(MONEY)
    source, destination = bank.wallet(1_000), bank.wallet()
    links: Any = chain.chain_from("accepted", new_id())
    for link in links.tasks:
        link.set(soft_time_limit=LINK_S + 1)
    with gate_before_commit_of(engine, "deduct") as gate:
        [id] = bank.accept(bank.request(source, destination, 400))
        links.apply_async()
        eventually(gate.waiting)
        time.sleep(1)
        with broker.process.frozen():
            gate.open()
            eventually(lambda: bank.state(id) == "deducted")
            time.sleep(0.5)  # in place the next step would be done by now
            assert bank.state(id) == "deducted"
    eventually(lambda: bank.state(id) == "committed")
    bank.audit()


def test_messages_are_counted_until_a_worker_takes_them(app: Celery) -> None:
    assert queues.count_waiting(app, queues.RESERVE) == 0
    chain.kick()
    chain.kick()
    eventually(lambda: queues.count_waiting(app, queues.RESERVE) == 2)


def test_a_broker_that_hangs_delays_its_callers_only_briefly(broker: Broker, app: Celery) -> None:
    # A worker that was ended before it acknowledged a message has left it behind.
    assert queues.count_waiting(app, queues.ADVANCE) <= 1
    started_s = time.monotonic()
    with broker.process.frozen(), pytest.raises(Exception, match=r"(?i)time|^$"):
        queues.count_waiting(app, queues.ADVANCE)
    assert time.monotonic() - started_s < 20.0
