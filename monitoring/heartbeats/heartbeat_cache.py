"""Heartbeats in the cache: a sorted set of the processes that are alive.

Guarantees that ages are measured by one clock, the cache server's, whatever the clocks
of the machines say. The cache may lose the set: the next beat brings a process back.
"""

from __future__ import annotations

from typing import Any, cast

from redis import Redis

FRESH_S = 15
"""A process without a heartbeat for longer counts as gone."""
_FORGET_AFTER_S = 3600
_AHEAD_S = 1
"""A heartbeat between the two requests, for the time and for the set, may be so far ahead."""
_KEY = "heartbeats"


def beat(cache: Redis, name: str, *, key_prefix: str) -> None:
    """Record that `name` is alive. Call it about every 5 s; a second call is harmless.

    Raises: redis.RedisError: when the cache does not answer; the next call repairs it.
    """
    now_s = _server_time_s(cache)
    key = key_prefix + _KEY
    with cache.pipeline(transaction=False) as pipeline:
        pipeline.zadd(key, {name: now_s})
        pipeline.zremrangebyscore(key, "-inf", now_s - _FORGET_AFTER_S)
        pipeline.zremrangebyscore(key, f"({now_s + _AHEAD_S}", "+inf")
        pipeline.execute()


def ages_s(cache: Redis, *, key_prefix: str) -> dict[str, int]:
    """Return the age in seconds of each heartbeat of the last hour, by name.

    One from the future, written before the server's clock was set back, is left out: its process
    may have ended long ago. A living process sends the next one within seconds.
    Raises: redis.RedisError: when the cache does not answer.
    """
    now_s = _server_time_s(cache)
    beats = cast(list[tuple[Any, float]], cache.zrange(key_prefix + _KEY, 0, -1, withscores=True))
    return {
        name.decode() if isinstance(name, bytes) else name: max(now_s - int(beaten_at_s), 0)
        for name, beaten_at_s in beats
        if beaten_at_s <= now_s + _AHEAD_S
    }


def program_of(name: str) -> str:
    """Return the program of a heartbeat: `money2@host` is one of several `money` workers."""
    return name.partition("@")[0].rstrip("-_0123456789")


def _server_time_s(cache: Redis) -> int:
    seconds, _microseconds = cache.time()
    return seconds
