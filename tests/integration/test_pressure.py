"""The watch over a broker's memory, on real brokers that are full, hung and dead."""

from __future__ import annotations

import threading

import pytest

from tasks.pressure import Pressure, look_at
from tests.brokers import Broker
from tests.threads import no_more_threads
from tests.worker_processes import eventually


@pytest.fixture(scope="module")
def pressure(broker: Broker) -> Pressure:
    return Pressure(look_at(broker.url))


def test_a_full_broker_is_overloaded_until_there_is_room(
    broker: Broker, pressure: Pressure
) -> None:
    for _ in range(2):
        eventually(lambda: not pressure.is_overloaded())
        broker.fill()
        try:
            eventually(pressure.is_overloaded)
        finally:
            broker.make_room()
    eventually(lambda: not pressure.is_overloaded())


def test_a_full_broker_that_dies_is_not_overloaded_and_watched_again_when_it_is_back(
    broker: Broker, pressure: Pressure
) -> None:
    broker.fill()
    try:
        eventually(pressure.is_overloaded)
        broker.process.kill()
        eventually(lambda: not pressure.is_overloaded())
    finally:
        if not broker.process.runs:
            broker.process.start()
        broker.make_room()
    broker.fill()
    try:
        eventually(pressure.is_overloaded)
    finally:
        broker.make_room()


def test_a_broker_that_hangs_is_not_taken_for_a_full_one(broker: Broker) -> None:
    with broker.process.frozen():
        look = look_at(broker.url)
        with pytest.raises(Exception, match=r"(?i)time|^$"):  # each client has words of its own
            look()


def test_a_broker_that_no_thread_could_watch_counts_as_relieved_until_one_can() -> None:
    looked = threading.Event()

    def look() -> float:
        looked.set()
        return 0.1

    pressure = Pressure(look)
    with no_more_threads():
        assert not pressure.is_overloaded()
        assert not looked.is_set()
    assert not pressure.is_overloaded()
    assert looked.wait(10)
