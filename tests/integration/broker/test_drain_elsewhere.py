"""A stranger consumes the intake queue on RabbitMQ: the drain takes nothing, and says why."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import kombu
import pytest
import redis

from ledger.buffer.entries import Buffered
from monitoring.job_runs import JobNote, read_notes
from settings import Settings
from tasks.buffer.intake_buffer import intake_buffer
from testing.bank import Bank
from testing.identity import IDENTITY
from testing.servers.brokers import RabbitBroker
from testing.worker_processes import BEAT, SCANS, eventually, workers_on
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


def test_operators_see_that_another_program_holds_the_buffer(
    rabbit_broker: RabbitBroker, own_database_url: str, bank: Bank, cache_url: str, tmp_path: Path
) -> None:
    rabbit_broker.empty()
    with workers_on(own_database_url, rabbit_broker.url, cache_url, tmp_path) as workers:
        settings = Settings.from_environment(workers.environment)
        source, destination = bank.wallet(1_000), bank.wallet()
        buffered = [
            Buffered(bank.request(source, destination, 1), datetime.now(UTC)) for _ in range(3)
        ]

        def drain_note() -> JobNote | None:
            with redis.Redis.from_url(cache_url) as cache:
                return read_notes(cache, key_prefix=settings.key_prefix).get("drain")

        with closing(intake_buffer(settings)) as buffer:
            buffer.put(buffered)
            stranger = kombu.Connection(rabbit_broker.url).transport.establish_connection()
            channel = stranger.channel()
            channel.basic_consume(settings.queue_prefix + "intake", callback=print)
            workers.start(BEAT)
            workers.ready(SCANS)
            eventually(lambda: (note := drain_note()) and "another program" in note.result)
            note = drain_note()
            assert note is not None
            assert not note.ok
            stranger.collect()
            eventually(lambda: (note := drain_note()) and note.ok and buffer.count() == 0)
        assert bank.unfinished() == 3
        rabbit_broker.empty()
