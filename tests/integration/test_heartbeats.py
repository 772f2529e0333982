from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from monitoring import heartbeats


@pytest.fixture
def cache(cache_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(cache_url)
    client.flushdb()
    yield client
    client.close()


def test_who_has_just_beaten_is_alive(cache: redis.Redis) -> None:
    assert heartbeats.alive(cache) == []
    for name in ("worker-2", "worker-1", "worker-2"):
        heartbeats.beat(cache, name)
    assert heartbeats.alive(cache) == ["worker-1", "worker-2"]


def test_who_has_not_beaten_for_a_while_is_not(cache: redis.Redis) -> None:
    heartbeats.beat(cache, "gone")
    heartbeats.beat(cache, "here")
    cache.zincrby("truepenny:heartbeats", -heartbeats.FRESH_S - 2, "gone")
    assert heartbeats.alive(cache) == ["here"]


def test_names_from_long_ago_are_forgotten(cache: redis.Redis) -> None:
    heartbeats.beat(cache, "old")
    cache.zincrby("truepenny:heartbeats", -4000, "old")
    heartbeats.beat(cache, "new")
    assert cache.zcard("truepenny:heartbeats") == 1
