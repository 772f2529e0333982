"""Hints over a real cache: heard at once, again after each outage, and never a danger."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import redis

from monitoring.logs import get_logger
from resilience.hints import HintListener, HintSender
from testing.servers.breakable import Breakable
from testing.worker_processes import eventually

CHANNEL = "truepenny:test:ended"
log = get_logger(__name__)


class Heard:
    """Counts how often a listener was called."""

    def __init__(self) -> None:
        self.count = 0
        self.at_s = 0.0
        self.event = threading.Event()

    def __call__(self) -> None:
        self.count += 1
        self.at_s = time.monotonic()
        self.event.set()


@pytest.fixture
def sender(cache: Breakable) -> Iterator[HintSender]:
    if not cache.runs:
        cache.start()
    made = HintSender(cache.url, CHANNEL)
    yield made
    made.close()


@pytest.fixture
def heard(cache: Breakable, sender: HintSender) -> Heard:  # noqa: ARG001 - the cache must run
    counter = Heard()
    HintListener(cache.url, CHANNEL, counter, log=log).start()
    eventually(lambda: counter.count == 1)  # listening has begun
    return counter


def test_a_hint_is_heard_at_once(heard: Heard, sender: HintSender) -> None:
    delays_s = []
    for _ in range(5):
        heard.event.clear()
        sent_at_s = time.monotonic()
        sender.send()
        assert heard.event.wait(5)
        delays_s.append(heard.at_s - sent_at_s)
        time.sleep(0.01)
    assert min(delays_s) < 0.02
    assert heard.count == 6


def test_hints_are_heard_again_after_the_cache_was_away(
    heard: Heard, sender: HintSender, cache: Breakable
) -> None:
    cache.kill()
    begun_s = time.monotonic()
    for _ in range(100):
        sender.send()
    assert time.monotonic() - begun_s < 1
    before = heard.count
    cache.start()
    eventually(lambda: heard.count > before, within_s=10)  # what came meanwhile may be missed
    listening = heard.count
    another = HintSender(cache.url, CHANNEL)  # that of a worker without the cool-down
    another.send()
    eventually(lambda: heard.count > listening)
    another.close()


def test_a_cache_that_hangs_wedges_neither_side(
    heard: Heard, sender: HintSender, cache: Breakable
) -> None:
    sender.send()
    before = heard.count
    with cache.frozen():
        begun_s = time.monotonic()
        for _ in range(1_000):
            sender.send()
        assert time.monotonic() - begun_s < 1
        time.sleep(4)  # the listener has given its connection up, and cannot make another
    eventually(lambda: heard.count > before, within_s=10)


def test_a_connection_that_vanishes_silently_is_replaced(heard: Heard, cache: Breakable) -> None:
    """As after a change in the network: nobody tells the listener that no more hints come."""
    with redis.Redis.from_url(cache.url) as stranger:
        listening = [one for one in stranger.client_list(_type="pubsub") if one["sub"] == "1"]
        before = heard.count
        for one in listening:
            stranger.client_kill_filter(_id=one["id"])
        eventually(lambda: heard.count > before, within_s=10)
        stranger.publish(CHANNEL, b"")
        eventually(lambda: heard.count > before + 1)


def test_a_flood_from_a_stranger_calls_the_listener_a_bounded_number_of_times(
    heard: Heard, cache: Breakable
) -> None:
    with redis.Redis.from_url(cache.url) as stranger:
        before, begun_s = heard.count, time.monotonic()
        while time.monotonic() - begun_s < 1:
            pipeline = stranger.pipeline(transaction=False)
            for _ in range(100):
                pipeline.publish(CHANNEL, b"\xff" * 100)
            pipeline.execute()
        took_s = time.monotonic() - begun_s
        assert heard.count - before <= took_s / 0.002 + 2
