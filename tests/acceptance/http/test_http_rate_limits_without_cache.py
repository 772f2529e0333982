"""Rate limits while the cache is dead, hangs or is full: approximate, without delay."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import pytest
import redis
import requests

from testing.worker_processes import eventually
from tests.acceptance.http.contract import assert_problem
from tests.acceptance.http.limited_api import (
    LIMIT,
    LimitedApi,
    caller_from,
    fresh_address,
    statuses,
    statuses_at_once,
    write,
)

pytestmark = pytest.mark.acceptance

PROCESSES = 2
MANY = 60
WAITING_S = 0.2
"""The least time of a request that waits for a cache that hangs."""


def dies(limited: LimitedApi) -> Iterator[None]:
    limited.cache.kill()
    yield
    limited.cache.start()


def hangs(limited: LimitedApi) -> Iterator[None]:
    limited.cache.freeze()
    yield
    limited.cache.thaw()


def fills_up(limited: LimitedApi) -> Iterator[None]:
    with limited.cache_client() as cache:
        limit = cache.config_get("maxmemory")["maxmemory"]
        cache.config_set("maxmemory-policy", "noeviction")
        fill(cache)
        # Memory freed by a closed connection must not make room for a counter.
        cache.config_set("maxmemory", int(cache.info("memory")["used_memory"] * 0.9))
        yield
        cache.config_set("maxmemory", limit)
        cache.config_set("maxmemory-policy", "allkeys-lru")
        cache.flushall()


FAULTS = [pytest.param(fault, id=fault.__name__) for fault in (dies, hangs, fills_up)]


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, limited: LimitedApi) -> Iterator[None]:
    """Break the cache in one way; repair it when the test ends."""
    make = contextmanager(request.param)
    with make(limited):
        yield
    eventually(limited.all_count_in_cache)


@pytest.mark.usefixtures("fault")
def test_requests_go_on_without_waiting_for_the_cache(limited: LimitedApi) -> None:
    caller = limited.new_caller(rate_limit="1000/minute")
    writes_s = [took_s(lambda: write(caller), 201) for _ in range(MANY)]
    reads_s = [took_s(lambda: caller.get("/v1/wallets"), 200) for _ in range(MANY)]  # uncounted
    # In parallel, because the time of each depends on the load of the machine.
    assert median(writes_s) - median(reads_s) < WAITING_S / 2


def took_s(send: Callable[[], requests.Response], status: int) -> float:
    begun_s = time.monotonic()
    assert send().status_code == status
    return time.monotonic() - begun_s


@pytest.mark.usefixtures("fault")
def test_processes_share_the_limit_by_their_number(limited: LimitedApi) -> None:
    one = limited.new_caller()
    each = LIMIT // PROCESSES
    assert statuses(one, LIMIT) == [201] * each + [429] * each  # through one connection
    address, api_key = fresh_address(), limited.new_key()
    taken = statuses_at_once(address, limited.direct, api_key, 30).count(201)
    assert each <= taken <= LIMIT
    answer = write(one)
    assert_problem(answer, 429, "rate_limited")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.usefixtures("fault")
def test_failed_authentication_stays_limited_and_known_keys_stay_good(
    limited: LimitedApi,
) -> None:
    address = fresh_address()
    known = limited.new_caller(address=address)
    assert known.get("/v1/wallets").status_code == 200
    attacker = caller_from(address, port=limited.direct, api_key=None)
    seen = [attacker.get("/v1/wallets").status_code for _ in range(LIMIT)]
    assert seen == [401] * (LIMIT // PROCESSES) + [429] * (LIMIT // PROCESSES)
    assert known.get("/v1/wallets").status_code == 200


@pytest.mark.usefixtures("fault")
def test_a_transfer_is_submitted_as_always(limited: LimitedApi) -> None:
    caller = limited.new_caller(scope="admin", rate_limit="none")
    source = caller.post("/v1/wallets", {"asset": "USD", "kind": "external"}).json()["id"]
    destination = write(caller).json()["id"]
    body = {"source": source, "destination": destination, "amount": "1.00", "asset": "USD"}
    assert caller.submit(body, key=str(uuid.uuid4())).status_code == 202


def test_a_used_up_limit_stays_used_up_when_the_cache_dies(limited: LimitedApi) -> None:
    caller = limited.new_caller()
    statuses(caller, LIMIT)
    limited.cache.kill()
    try:
        assert write(caller).status_code == 429
    finally:
        limited.cache.start()
    eventually(limited.all_count_in_cache)


def test_the_shared_limit_is_back_after_the_cache_is(limited: LimitedApi) -> None:
    limited.cache.freeze()
    statuses(limited.new_caller(), 2)
    limited.cache.thaw()
    eventually(limited.all_count_in_cache)
    address, api_key = fresh_address(), limited.new_key()
    assert statuses_at_once(address, limited.direct, api_key, 30).count(201) == LIMIT
    assert write(caller_from(address, port=limited.proxied, api_key=api_key)).status_code == 429


def test_a_cache_that_evicts_to_make_room_keeps_counting(limited: LimitedApi) -> None:
    with limited.cache_client() as cache:
        assert fill(cache) > 0
        address, api_key = fresh_address(), limited.new_key()
        assert statuses_at_once(address, limited.direct, api_key, 30).count(201) == LIMIT
        assert cache.keys(f"*{address}*")
        cache.flushall()


def fill(cache: redis.Redis) -> int:
    """Write until the cache refuses, or has begun to evict. Returns: how much it evicted."""
    for number in range(10_000):
        try:
            cache.set(f"filler:{number}", b"x" * 1_000_000)
        except redis.ResponseError:
            return 0
        if number % 50 == 0 and (evicted := int(cache.info("stats")["evicted_keys"])):
            return evicted
    raise AssertionError("the cache never filled up")
