"""Backpressure on real brokers that are full, hung or dead."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from monitoring.health.broker_probe import BrokerReading, broker_probe
from tasks.broker.backpressure import BackpressureGauge
from testing.servers.brokers import Broker
from testing.thread_limit import no_new_threads
from testing.worker_processes import eventually


@pytest.fixture(scope="module")
def pressure(broker: Broker) -> BackpressureGauge:
    return BackpressureGauge(broker_probe(broker.url))


def test_a_full_broker_is_overloaded_until_there_is_room(
    broker: Broker, pressure: BackpressureGauge
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
    broker: Broker, pressure: BackpressureGauge
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


def test_a_broker_that_hangs_does_not_count_as_full(broker: Broker) -> None:
    with broker.process.frozen():
        pressure = BackpressureGauge(broker_probe(broker.url))
        with pytest.raises(
            Exception, match=r"(?i)time|^$"
        ):  # the wording depends on the client library
            pressure.read_now()
        assert not pressure.is_overloaded()


def test_concurrent_readers_share_one_reading(broker: Broker) -> None:
    looks: list[float] = []
    probe = broker_probe(broker.url)

    class Counting:
        def read(self, *, was_full: bool) -> BrokerReading:
            looks.append(time.monotonic())
            time.sleep(0.1)
            return probe.read(was_full=was_full)

        def close(self) -> None:
            probe.close()

    pressure = BackpressureGauge(Counting())
    together = threading.Barrier(20)

    def look() -> BrokerReading:
        together.wait(10)
        return pressure.read_now()

    with closing(probe), ThreadPoolExecutor(20) as threads:
        readings = list(threads.map(lambda _: look(), range(20)))
    assert not any(reading.is_full for reading in readings)
    assert len(looks) < 10  # two on an idle machine


def test_a_look_for_health_alone_is_followed_by_others_so_that_no_refusal_is_out_of_date(
    broker: Broker,
) -> None:
    pressure = BackpressureGauge(broker_probe(broker.url))
    broker.fill()
    try:
        eventually(lambda: pressure.read_now().is_full)
    finally:
        broker.make_room()
    time.sleep(3.0)  # nobody asks meanwhile: neither a request nor /health
    assert not pressure.is_overloaded()


def test_a_broker_that_no_thread_can_watch_counts_as_not_full() -> None:
    looked = threading.Event()

    class Probe:
        def read(self, *, was_full: bool) -> BrokerReading:
            looked.set()
            return BrokerReading(is_full=was_full, memory_share=0.1, findings=[])

        def close(self) -> None:
            pass

    pressure = BackpressureGauge(Probe())
    with no_new_threads():
        assert not pressure.is_overloaded()
        assert not looked.is_set()
    assert not pressure.is_overloaded()
    assert looked.wait(10)
