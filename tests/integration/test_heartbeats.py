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


def test_who_has_just_beaten_is_known_once(cache: redis.Redis) -> None:
    assert heartbeats.ages_s(cache) == {}
    for name in ("worker-2", "worker-1", "worker-2"):
        heartbeats.beat(cache, name)
    ages_s = heartbeats.ages_s(cache)
    assert set(ages_s) == {"worker-1", "worker-2"}
    assert max(ages_s.values()) < heartbeats.FRESH_S


def test_who_has_not_beaten_for_a_while_grows_old(cache: redis.Redis) -> None:
    heartbeats.beat(cache, "gone")
    cache.zincrby("truepenny:heartbeats", -heartbeats.FRESH_S - 2, "gone")
    heartbeats.beat(cache, "here")
    ages_s = heartbeats.ages_s(cache)
    assert ages_s["gone"] > heartbeats.FRESH_S >= ages_s["here"]


def test_a_beat_from_the_future_is_no_sign_of_life(cache: redis.Redis) -> None:
    for name in ("gone", "here"):
        heartbeats.beat(cache, name)
        cache.zincrby("truepenny:heartbeats", 3600, name)  # the clock is set back an hour
    assert heartbeats.ages_s(cache) == {}
    heartbeats.beat(cache, "here")
    assert set(heartbeats.ages_s(cache)) == {"here"}
    assert cache.zcard("truepenny:heartbeats") == 1


def test_names_from_long_ago_are_forgotten(cache: redis.Redis) -> None:
    heartbeats.beat(cache, "old")
    cache.zincrby("truepenny:heartbeats", -4000, "old")
    heartbeats.beat(cache, "new")
    assert cache.zcard("truepenny:heartbeats") == 1
