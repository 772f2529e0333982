"""A broker that is slow or has nobody who listens: nothing piles up, nothing gives up."""

from __future__ import annotations

import time

from ledger.ids import new_id
from tasks.broker import queues
from tasks.broker.kick import Kicker
from tasks.recovery import MAX_WAITING
from testing.worker_processes import MONEY, eventually
from tests.chaos.scene import Scene
from workers.celery_app import BROKER_TIMEOUT_S


def test_scans_without_a_money_worker_pile_up_nothing(scene: Scene) -> None:
    scene.no_worker()
    batch = new_id()
    ids = scene.accept(20)
    scene.bank.step("reserve", batch)
    ids += scene.accept(3)
    eventually(lambda: scene.broker.waiting(queues.RESERVE) == 1)
    # Each re-drive is one scan that found the batch stuck: it would have kicked, too.
    eventually(lambda: scene.bank.timeline(ids[0]).count("redriven") >= 4)
    assert scene.broker.waiting(queues.RESERVE) == 1
    assert scene.broker.waiting(queues.ADVANCE) <= MAX_WAITING
    scene.workers.ready(MONEY)
    scene.settles(ids)


def test_a_kick_that_failed_is_made_again(scene: Scene) -> None:
    scene.no_worker()
    kicker = Kicker(scene.app)
    scene.broker.purge(queues.RESERVE)
    with scene.broker.process.frozen():
        kicker.kick()
        time.sleep(BROKER_TIMEOUT_S + 1.0)  # longer than our patience
    eventually(lambda: scene.broker.waiting(queues.RESERVE) == 1, within_s=30)


def test_beat_lives_through_a_broker_that_does_not_answer(scene: Scene) -> None:
    beat = next(each for each in scene.workers.started if each.is_beat)
    scene.worker()
    with scene.broker.process.frozen():
        ids = scene.accept()
        time.sleep(BROKER_TIMEOUT_S + 1.0)
    scene.settles(ids)  # without a kick: so beat still sends scans
    assert beat.is_alive
