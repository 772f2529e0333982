"""Looking for dead queues on a real RabbitMQ where none is dead."""

from __future__ import annotations

from settings import Settings
from tasks import queues
from tests.brokers import RabbitBroker
from tests.worker_processes import eventually
from workers.celery_app import make_celery
from workers.dead_queues import replace_dead_queues


def test_queues_that_answer_are_left_alone_and_the_process_says_that_it_goes_on(
    rabbit_broker: RabbitBroker,
) -> None:
    servers = {"DATABASE_URL": "postgresql://x", "CACHE_URL": "redis://x"}
    app = make_celery(Settings.from_environment(servers | {"BROKER_URL": rabbit_broker.url}))
    with app.connection_for_write() as connection:
        for name in queues.HINTS:
            app.amqp.queues[name].bind(connection.default_channel).declare()
        connection.Producer().publish("hint", exchange="", routing_key=queues.SCANS)
    beats: list[int] = []
    replace_dead_queues(app, beat=lambda: beats.append(1))
    assert len(beats) == len(queues.HINTS)
    eventually(lambda: rabbit_broker.waiting(queues.SCANS) == 1)  # it was given back
    rabbit_broker.empty()
