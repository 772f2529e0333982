"""Events of links: each link is seen by itself, also if a process ran several in a row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import Engine

from settings import Settings
from tasks import chain
from testing.bank import Bank
from testing.commit_gate import gate_before_commit_of
from testing.servers.brokers import Broker
from testing.worker_processes import MONEY, eventually, workers_on
from workers.celery_app import make_celery

STEPS = ["money.reserve", "money.deduct", "money.credit", "money.commit"]
WHOLE = ["task-received", "task-started", "task-succeeded"]


@pytest.fixture
def events(
    own_database_url: str, broker: Broker, cache_url: str, tmp_path: Path
) -> Iterator[list[dict[str, Any]]]:
    """Start a money worker. Yields: the events of its tasks, as they come."""
    seen: list[dict[str, Any]] = []
    with workers_on(own_database_url, broker.url, cache_url, tmp_path) as workers:
        app: Celery = make_celery(Settings.from_environment(workers.environment))
        workers.ready(MONEY)
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": seen.append})
            listening = Thread(target=receiver.capture, kwargs={"limit": None}, daemon=True)
            listening.start()
            eventually(lambda: any(event["type"] == "worker-heartbeat" for event in seen))
            yield seen
            receiver.should_stop = True
            listening.join(10)


def settle(bank: Bank) -> None:
    [id] = bank.accept(bank.request(bank.wallet(1_000), bank.wallet(), 400))
    chain.kick()
    eventually(lambda: bank.state(id) == "committed")


def tasks_in(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events of tasks in the order of their times."""
    return sorted((each for each in events if "uuid" in each), key=lambda each: each["timestamp"])


def test_each_link_has_events_of_its_own_in_their_order(
    bank: Bank, events: list[dict[str, Any]]
) -> None:
    settle(bank)
    eventually(lambda: len(tasks_in(events)) == 12)
    seen = tasks_in(events)
    ids = list(dict.fromkeys(each["uuid"] for each in seen))
    assert [[each["type"] for each in seen if each["uuid"] == id] for id in ids] == [WHOLE] * 4
    received = [each for each in seen if each["type"] == "task-received"]
    assert [each["name"] for each in received] == STEPS
    assert {each["root_id"] for each in received} == {ids[0]}
    assert [each["parent_id"] for each in received] == [None, *ids[:3]]
    assert len({each["args"] for each in received}) == 1
    assert all(each["hostname"].startswith("money") for each in seen)
    assert all(each["runtime"] > 0 for each in seen if each["type"] == "task-succeeded")


def test_a_link_that_fails_in_place_is_seen_as_retried(
    bank: Bank, engine: Engine, events: list[dict[str, Any]]
) -> None:
    source, destination = bank.wallet(1_000), bank.wallet()
    with gate_before_commit_of(engine, "credit") as gate:
        [id] = bank.accept(bank.request(source, destination, 400))
        chain.kick()
        eventually(gate.waiting)
        gate.cut_off()
        eventually(gate.waiting)
        gate.open()
        eventually(lambda: bank.state(id) == "committed")
    assert "retried" in bank.timeline(id)
    eventually(lambda: tasks_in(events)[-1]["type"] == "task-succeeded" and len(events) > 14)
    seen = tasks_in(events)
    [credit] = {each["uuid"] for each in seen if each.get("name") == STEPS[2]}
    types = [each["type"] for each in seen if each["uuid"] == credit]
    # The message of the retry may be received before the end of the first try is told.
    assert sorted(types) == sorted([*WHOLE[:2], "task-retried", *WHOLE])
    assert types[-1] == WHOLE[-1]
    bank.audit()
