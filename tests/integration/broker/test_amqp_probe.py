"""AMQP probe: detects the memory alarm, and returns in time when RabbitMQ hangs or dies."""

from __future__ import annotations

import time
from contextlib import closing

import amqp
import pytest

from monitoring.health.broker_probe import RabbitProbe
from testing.servers.brokers import RabbitBroker
from testing.worker_processes import eventually

# One time-out, plus time for a busy machine.
WITHIN_S = 4.0


def codes(url: str) -> list[str]:
    with closing(RabbitProbe(url)) as probe:
        return [found.code for found in probe.read(was_full=False).findings]


def test_a_probe_sees_an_alarm_and_its_end(rabbit_broker: RabbitBroker) -> None:
    assert codes(rabbit_broker.url) == []
    rabbit_broker.fill()
    try:
        eventually(lambda: codes(rabbit_broker.url) == ["alarm"])
    finally:
        rabbit_broker.make_room()
    eventually(lambda: codes(rabbit_broker.url) == [])


def test_a_probe_of_a_broker_that_hangs_ends_soon(rabbit_broker: RabbitBroker) -> None:
    with rabbit_broker.process.frozen():
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            codes(rabbit_broker.url)
        assert time.monotonic() - begun < WITHIN_S
    eventually(lambda: codes(rabbit_broker.url) == [])


def test_of_several_hosts_one_that_answers_is_enough(rabbit_broker: RabbitBroker) -> None:
    nobody = "amqp://guest:guest@127.0.0.1:1//"
    assert codes(f"{nobody};{rabbit_broker.url}") == []
    with pytest.raises(OSError, match="refused"):
        codes(f"{nobody};{nobody}")


def test_a_wrong_password_is_no_answer(rabbit_broker: RabbitBroker) -> None:
    user, _, host = rabbit_broker.url.partition("@")
    with pytest.raises(amqp.AccessRefused):
        codes(f"{user}x@{host}")


def test_one_connection_serves_all_probes_and_is_replaced_when_dead(
    rabbit_broker: RabbitBroker,
) -> None:
    others = rabbit_broker.connections_without_consumer()
    with closing(RabbitProbe(rabbit_broker.url)) as probe:
        assert not probe.read(was_full=False).is_full
        [name] = rabbit_broker.connections_without_consumer() - others
        assert not probe.read(was_full=False).is_full
        assert rabbit_broker.connections_without_consumer() - others == {name}
        rabbit_broker.close_connection(name)
        assert not probe.read(was_full=False).is_full


def test_the_first_of_several_hosts_may_die_between_two_probes(rabbit_broker: RabbitBroker) -> None:
    probe = RabbitProbe(f"amqp://guest:guest@127.0.0.1:1//;{rabbit_broker.url}")
    for _ in range(2):
        assert not probe.read(was_full=False).is_full
        probe.close()
