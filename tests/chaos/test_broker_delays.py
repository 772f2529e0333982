"""Broker without answers or consumers: no messages pile up, and work continues afterwards."""

from __future__ import annotations

import time

from ledger.ids import new_id
from tasks.broker import queues
from tasks.broker.kick import Kicker
from tasks.recovery import MAX_WAITING_BATCHES
from testing.worker_processes import MONEY, eventually
from tests.chaos.scenario import Scenario
from workers.celery_app import BROKER_TIMEOUT_S


def test_scans_without_a_money_worker_pile_up_no_messages(scenario: Scenario) -> None:
    scenario.no_worker()
    batch = new_id()
    ids = scenario.accept(20)
    scenario.bank.step("reserve", batch)
    ids += scenario.accept(3)
    eventually(lambda: scenario.broker.waiting(queues.RESERVE) == 1)
    # Each re-drive is a scan that found the batch stuck, so it had a reason to kick too.
    eventually(lambda: scenario.bank.timeline(ids[0]).count("redriven") >= 4)
    assert scenario.broker.waiting(queues.RESERVE) == 1
    assert scenario.broker.waiting(queues.ADVANCE) <= MAX_WAITING_BATCHES
    scenario.workers.ready(MONEY)
    scenario.settles(ids)


def test_a_kick_that_failed_is_made_again(scenario: Scenario) -> None:
    scenario.no_worker()
    kicker = Kicker(scenario.app)
    scenario.broker.purge(queues.RESERVE)
    with scenario.broker.process.frozen():
        kicker.kick()
        time.sleep(BROKER_TIMEOUT_S + 1.0)  # longer than our time-out
    eventually(lambda: scenario.broker.waiting(queues.RESERVE) == 1, within_s=30)


def test_beat_survives_a_broker_that_does_not_answer(scenario: Scenario) -> None:
    beat = next(each for each in scenario.workers.started if each.is_beat)
    scenario.worker()
    with scenario.broker.process.frozen():
        ids = scenario.accept()
        time.sleep(BROKER_TIMEOUT_S + 1.0)
    scenario.settles(ids)  # without a kick: so beat still sends scans
    assert beat.is_alive
