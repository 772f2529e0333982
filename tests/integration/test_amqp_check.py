"""The look at a RabbitMQ, which really has an alarm, hangs, and dies."""

from __future__ import annotations

import time

import amqp
import pytest

from monitoring.server_checks import amqp_findings
from tests.brokers import RabbitBroker
from tests.worker_processes import eventually

# One time-out, and a machine that is busy.
WITHIN_S = 4.0


def codes(url: str) -> list[str]:
    return [found.code for found in amqp_findings(url)]


def test_a_look_finds_an_alarm_and_its_end(rabbit_broker: RabbitBroker) -> None:
    assert codes(rabbit_broker.url) == []
    rabbit_broker.fill()
    try:
        eventually(lambda: codes(rabbit_broker.url) == ["alarm"])
    finally:
        rabbit_broker.make_room()
    eventually(lambda: codes(rabbit_broker.url) == [])


def test_a_look_at_a_broker_that_hangs_ends_soon(rabbit_broker: RabbitBroker) -> None:
    with rabbit_broker.process.frozen():
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            amqp_findings(rabbit_broker.url)
        assert time.monotonic() - begun < WITHIN_S
    eventually(lambda: codes(rabbit_broker.url) == [])


def test_of_several_hosts_one_that_answers_is_enough(rabbit_broker: RabbitBroker) -> None:
    nobody = "amqp://guest:guest@127.0.0.1:1//"
    assert codes(f"{nobody};{rabbit_broker.url}") == []
    with pytest.raises(OSError, match="refused"):
        amqp_findings(f"{nobody};{nobody}")


def test_a_wrong_password_is_no_answer(rabbit_broker: RabbitBroker) -> None:
    user, _, host = rabbit_broker.url.partition("@")
    with pytest.raises(amqp.AccessRefused):
        amqp_findings(f"{user}x@{host}")
