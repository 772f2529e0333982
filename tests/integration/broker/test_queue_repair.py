"""Queue repair: queues that RabbitMQ brings back dead are replaced, others stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import amqp
from celery import Celery

from settings import Settings
from stack.servers.home import Home
from tasks.broker import queues
from testing.identity import IDENTITY, QUEUE_PREFIX
from testing.servers.brokers import RabbitBroker, own_rabbitmq
from testing.worker_processes import eventually
from workers.celery_app import make_celery
from workers.queue_repair import replace_dead_queues


def test_queues_that_answer_are_left_alone(
    rabbit_broker: RabbitBroker,
) -> None:
    app = app_on(rabbit_broker)
    declare(app)
    rabbit_broker.purge(queues.SCANS)
    with app.connection_for_write() as connection:
        connection.Producer().publish("hint", exchange="", routing_key=QUEUE_PREFIX + queues.SCANS)
    beats: list[int] = []
    replace_dead_queues(app, beat=lambda: beats.append(1))
    assert len(beats) == len(queues.HINTS)
    eventually(lambda: rabbit_broker.waiting(queues.SCANS) == 1)  # it was given back
    rabbit_broker.empty()


def test_queues_that_came_back_dead_work_again(brokers_place: Home, tmp_path: Path) -> None:
    """On its own RabbitMQ, which is killed before it has written the queues to disk."""
    place = replace(brokers_place, data=brokers_place.data / "dead")
    place.data.mkdir(mode=0o711)
    with own_rabbitmq(place, tmp_path / "rabbitmq.log") as broker:
        app = app_on(broker)
        declare(app)
        broker.process.kill()
        broker.process.start()
        eventually(lambda: all_take_and_give(app), within_s=60)
        declare(app)
        broker.process.kill()
        broker.process.start()
        broker.empty()
        declare(app)
        assert broker.waiting(queues.SCANS) == 0
        assert all_take_and_give(app)


def app_on(broker: RabbitBroker) -> Celery:
    servers = {**IDENTITY, "DATABASE_URL": "postgresql://x", "CACHE_URL": "redis://x"}
    return make_celery(Settings.from_environment(servers | {"BROKER_URL": broker.url}))


def declare(app: Celery) -> None:
    with app.connection_for_write() as connection:
        for name in queues.HINTS:
            app.amqp.queues[name].bind(connection.default_channel).declare()


def all_take_and_give(app: Celery) -> bool:
    """Repair as a worker does that gets no answer; return whether the queues work then."""
    try:
        replace_dead_queues(app, beat=lambda: None)
        declare(app)
        with app.connection_for_write() as connection:
            for name in queues.HINTS:
                connection.Producer().publish("hint", exchange="", routing_key=name, timeout=2)
                app.amqp.queues[name].bind(connection.default_channel).get(no_ack=True)
    except (OSError, amqp.AMQPError):
        return False
    return True
