"""A stranger consumes the intake queue on RabbitMQ: the drain takes nothing, and says why."""

from __future__ import annotations

from contextlib import closing

import kombu
import pytest

from settings import Settings
from tasks.buffer.intake_buffer import intake_buffer
from testing.identity import IDENTITY
from testing.servers.brokers import RabbitBroker
from testing.worker_processes import eventually
from tests.integration.broker.test_intake_buffer import requests


def test_a_drain_beside_another_consumer_says_so_and_goes_on_when_it_has_left(
    rabbit_broker: RabbitBroker, cache_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    rabbit_broker.empty()
    url = rabbit_broker.url
    given = {"DATABASE_URL": "postgresql://nowhere", "BROKER_URL": url, "CACHE_URL": cache_url}
    settings = Settings.from_environment({**IDENTITY, **given})
    with closing(intake_buffer(settings)) as buffer:
        buffer.put(requests(3))
        stranger = kombu.Connection(url).transport.establish_connection()
        channel = stranger.channel()
        channel.basic_qos(0, 1, False)
        channel.basic_consume(settings.queue_prefix + "intake", callback=print)
        eventually(lambda: buffer.count() == 2)
        assert buffer.first(10) == []
        buffer.release()
        assert buffer.first(10) == []
        assert "intake_held_elsewhere" in caplog.messages
        buffer.release()
        stranger.collect()
        eventually(lambda: buffer.count() == 3)
        assert len(buffer.first(10)) == 3
        assert "intake_free_again" in caplog.messages
        rabbit_broker.empty()
