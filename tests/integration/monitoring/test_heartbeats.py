"""Heartbeats in a real cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from monitoring.heartbeats import heartbeat_cache
from testing.identity import KEY_PREFIX

HEARTBEATS = f"{KEY_PREFIX}heartbeats"


@pytest.fixture
def cache(cache_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(cache_url)
    client.flushdb()
    yield client
    client.close()


def test_a_fresh_heartbeat_is_listed_once(cache: redis.Redis) -> None:
    assert heartbeat_cache.ages_s(cache, key_prefix=KEY_PREFIX) == {}
    for name in ("worker-2", "worker-1", "worker-2"):
        heartbeat_cache.beat(cache, name, key_prefix=KEY_PREFIX)
    ages_s = heartbeat_cache.ages_s(cache, key_prefix=KEY_PREFIX)
    assert set(ages_s) == {"worker-1", "worker-2"}
    assert max(ages_s.values()) < heartbeat_cache.FRESH_S


def test_a_heartbeat_grows_old(cache: redis.Redis) -> None:
    heartbeat_cache.beat(cache, "gone", key_prefix=KEY_PREFIX)
    cache.zincrby(HEARTBEATS, -heartbeat_cache.FRESH_S - 2, "gone")
    heartbeat_cache.beat(cache, "here", key_prefix=KEY_PREFIX)
    ages_s = heartbeat_cache.ages_s(cache, key_prefix=KEY_PREFIX)
    assert ages_s["gone"] > heartbeat_cache.FRESH_S >= ages_s["here"]


def test_a_beat_from_the_future_is_no_sign_of_life(cache: redis.Redis) -> None:
    for name in ("gone", "here"):
        heartbeat_cache.beat(cache, name, key_prefix=KEY_PREFIX)
        cache.zincrby(HEARTBEATS, 3600, name)  # the clock is set back an hour
    assert heartbeat_cache.ages_s(cache, key_prefix=KEY_PREFIX) == {}
    heartbeat_cache.beat(cache, "here", key_prefix=KEY_PREFIX)
    assert set(heartbeat_cache.ages_s(cache, key_prefix=KEY_PREFIX)) == {"here"}
    assert cache.zcard(HEARTBEATS) == 1


def test_names_from_long_ago_are_forgotten(cache: redis.Redis) -> None:
    heartbeat_cache.beat(cache, "old", key_prefix=KEY_PREFIX)
    cache.zincrby(HEARTBEATS, -4000, "old")
    heartbeat_cache.beat(cache, "new", key_prefix=KEY_PREFIX)
    assert cache.zcard(HEARTBEATS) == 1
