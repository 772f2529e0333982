"""Rate counters in a real cache: shared by processes, and robust when the cache fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from api.rate_limits.counters import CacheCounters, Counters, MemoryCounters, Window
from testing.identity import KEY_PREFIX
from testing.servers.breakable import Breakable
from testing.thread_limit import no_new_threads
from testing.worker_processes import eventually

NewCounters = Callable[[], Counters]


@pytest.fixture(autouse=True)
def client(cache: Breakable) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(cache.url, socket_timeout=5) as client:
        client.flushall()
        yield client


@pytest.fixture
def new_counters(cache: Breakable) -> Iterator[NewCounters]:
    """Return a function that makes the counters of another process."""
    made: list[CacheCounters] = []

    def make() -> Counters:
        made.append(CacheCounters(cache.url, key_prefix=KEY_PREFIX))
        return Counters(made[-1], MemoryCounters(processes=2), try_again_every_s=0.1)

    yield make
    for each in made:
        each.close_idle_connections()


@pytest.fixture
def probing_threads() -> Callable[[], int]:
    """Return a function that counts the threads of this test, not those of others before it."""
    earlier = set(threading.enumerate())

    def count() -> int:
        return sum(each.name == "rate-counters" for each in set(threading.enumerate()) - earlier)

    return count


def test_all_processes_count_together(new_counters: NewCounters) -> None:
    one, other = new_counters(), new_counters()
    assert [one.hit("a", 60).count, other.hit("a", 60).count, one.hit("a", 60).count] == [1, 2, 3]
    assert other.look("a").count == 3
    assert other.look("b") == Window(0, 0.0)
    assert one.mark("good", for_s=60)
    assert other.is_marked("good")
    assert not other.is_marked("bad")


def test_a_counter_without_an_end_gets_one(new_counters: NewCounters, client: redis.Redis) -> None:
    counters = new_counters()
    counters.hit("a", 60)
    [key] = client.keys("*")
    client.persist(key)
    window = counters.hit("a", 60)
    assert (window.count, window.left_s) == (2, 60.0)
    assert client.ttl(key) > 0


def test_a_cache_that_lost_the_script_gets_it_again(
    new_counters: NewCounters, client: redis.Redis
) -> None:
    counters = new_counters()
    counters.hit("a", 60)
    client.script_flush()
    assert counters.hit("a", 60).count == 2
    assert counters.are_shared


def test_a_hanging_cache_delays_one_request_and_one_thread_tries_again(
    new_counters: NewCounters,
    cache: Breakable,
    client: redis.Redis,
    probing_threads: Callable[[], int],
) -> None:
    counters = new_counters()
    counters.hit("a", 60)
    cache.freeze()
    begun_s = time.monotonic()
    with ThreadPoolExecutor(20) as threads:
        windows = list(threads.map(lambda _: counters.hit("a", 60), range(1_000)))
    assert time.monotonic() - begun_s < 5  # half of what it takes if each waits
    assert max(window.count for window in windows) == 1 + 2 * 1_000  # it continues after the first
    assert not counters.are_shared
    assert probing_threads() == 1
    cache.thaw()
    eventually(lambda: counters.are_shared)
    eventually(lambda: probing_threads() == 0)
    client.flushall()
    assert counters.hit("a", 60).count == 1


def test_a_cache_that_dies_repeatedly_is_used_again_each_time(
    new_counters: NewCounters, cache: Breakable, probing_threads: Callable[[], int]
) -> None:
    counters = new_counters()
    for _ in range(2):
        assert counters.hit("a", 60).count == 1
        cache.kill()
        assert counters.hit("a", 60).count == 3
        assert not counters.mark("good", for_s=60)
        cache.start()
        eventually(lambda: counters.are_shared)
    assert probing_threads() <= 1


def test_a_cache_that_no_thread_could_wait_for_is_asked_again_by_the_next_request(
    new_counters: NewCounters, cache: Breakable
) -> None:
    counters = new_counters()
    cache.kill()
    with no_new_threads():
        assert [counters.hit("a", 60).count for _ in range(2)] == [1, 3]
    cache.start()
    assert counters.hit("a", 60).count == 1
    assert counters.are_shared


def test_a_full_cache_does_not_count_as_recovered(
    new_counters: NewCounters, client: redis.Redis
) -> None:
    counters = new_counters()
    limit = int(str(client.config_get("maxmemory")["maxmemory"]))
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    counters.hit("a", 60)
    time.sleep(0.5)  # several trials
    assert client.ping()
    assert not counters.are_shared
    client.config_set("maxmemory", limit)
    client.config_set("maxmemory-policy", "allkeys-lru")
    eventually(lambda: counters.are_shared)


def test_items_are_taken_all_or_none_and_given_back_within_their_window(
    new_counters: NewCounters, client: redis.Redis
) -> None:
    one, other = new_counters(), new_counters()
    assert one.take("key", 60, items=6, limit=10).fits
    refused = other.take("key", 60, items=5, limit=10)
    assert (refused.fits, refused.window.count) == (False, 6)
    assert 0 < refused.window.left_s <= 60
    other.give_back("key", 1)
    assert other.take("key", 60, items=5, limit=10).window.count == 10
    one.give_back("key", 99)
    assert one.look("key").count == 0
    one.give_back("unknown", 1)
    assert len(client.keys()) == 1


def test_every_counter_is_named_after_the_installation(
    new_counters: NewCounters, client: redis.Redis
) -> None:
    counters = new_counters()
    counters.hit("writes", 60)
    counters.take("items", 60, items=2, limit=5)
    counters.give_back("items", 1)
    assert counters.look("items").count == 1
    names = [bytes(key).decode() for key in client.scan_iter()]
    assert len(names) == 2
    assert all(name.startswith(KEY_PREFIX) for name in names)


def test_a_counter_of_items_without_an_end_gets_one(
    new_counters: NewCounters, client: redis.Redis
) -> None:
    counters = new_counters()
    counters.take("key", 60, items=10, limit=10)
    [name] = client.keys()
    client.persist(name)
    assert not counters.take("key", 60, items=1, limit=10).fits
    assert 0 < client.pttl(name) <= 60_000


def test_many_take_at_once_and_no_more_fits_than_the_limit(new_counters: NewCounters) -> None:
    processes = [new_counters() for _ in range(4)]

    def take(number: int) -> bool:
        return processes[number % 4].take("key", 60, items=3, limit=20).fits

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(take, range(40))) == 6
