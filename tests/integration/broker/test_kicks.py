"""Kicks: an idle process sends one without asking, and never more than one that waits."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from celery import Celery

from settings import Settings
from tasks import chain
from tasks.broker import queues
from tasks.broker.kick import LOOK_AFTER_S, MAX_PAUSE_S, Kicker
from testing.servers.brokers import Broker
from testing.worker_processes import eventually, workers_on
from workers.celery_app import make_celery

IDLE_S = MAX_PAUSE_S + LOOK_AFTER_S + 0.3
"""After so long a process has asked whether its last kick was taken."""


@pytest.fixture
def app(own_database_url: str, broker: Broker, cache_url: str, tmp_path: Path) -> Celery:
    """Make an application without workers: kicks stay where they are."""
    broker.empty()
    with workers_on(own_database_url, broker.url, cache_url, tmp_path) as none:
        return make_celery(Settings.from_environment(none.environment))


def test_an_idle_process_sends_its_kick_without_asking(app: Celery, broker: Broker) -> None:
    kicker = Kicker(app)
    kicker.kick()
    eventually(lambda: broker.waiting(queues.RESERVE) == 1)
    broker.purge(queues.RESERVE)  # as if a worker had taken it
    time.sleep(IDLE_S)
    chain.kick()  # of another process, since we have asked
    kicker.kick()
    eventually(lambda: broker.waiting(queues.RESERVE) == 2)
    for _ in range(5):
        kicker.kick()
        time.sleep(IDLE_S)
    assert broker.waiting(queues.RESERVE) == 2, "it has seen that one waits"


def test_kicks_that_nobody_takes_stay_one(app: Celery, broker: Broker) -> None:
    kicker = Kicker(app)
    for _ in range(5):
        kicker.kick()
        time.sleep(IDLE_S)
    assert broker.waiting(queues.RESERVE) == 1


def test_a_broker_that_is_away_when_it_is_asked_costs_no_kick(app: Celery, broker: Broker) -> None:
    kicker = Kicker(app)
    kicker.kick()
    eventually(lambda: broker.waiting(queues.RESERVE) == 1)
    broker.process.kill()
    time.sleep(IDLE_S)
    broker.process.start()
    broker.purge(queues.RESERVE)
    kicker.kick()
    eventually(lambda: broker.waiting(queues.RESERVE) == 1)
