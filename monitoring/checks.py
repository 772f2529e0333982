"""The check of each component: connect as the component's users do, ask the cheapest question.

Guarantees that every check gives up by itself within seconds, and uses connections of its
own: a pool that is busy with payments says nothing about whether the database answers.
"""

from __future__ import annotations

import redis
from kombu import Connection as BrokerConnection
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine, text

from ledger.database import autocommit
from monitoring import heartbeats
from monitoring.health import Check, Component

_TIMEOUT_S = 0.8


def cache_client(url: str) -> redis.Redis:
    """Return a client for short questions. It connects on first use."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=_TIMEOUT_S,
        socket_timeout=_TIMEOUT_S,
        max_connections=4,
        retry=Retry(NoBackoff(), 0),  # its default would go on asking for many seconds
    )


def database_check(engine: Engine) -> Check:
    """Ask the database for nothing, and learn that it answers."""

    def check() -> Component:
        with autocommit(engine) as connection:
            connection.execute(text("SELECT 1"))
        return Component("ok", "answers")

    return check


def broker_check(url: str) -> Check:
    """Open a connection to the broker, whichever kind it is."""
    if url.startswith(("redis://", "rediss://")):
        return cache_check(cache_client(url))

    def check() -> Component:
        with BrokerConnection(url, connect_timeout=_TIMEOUT_S) as connection:
            connection.connect()
        return Component("ok", "answers")

    return check


def cache_check(cache: redis.Redis) -> Check:
    """Ping."""

    def check() -> Component:
        cache.ping()
        return Component("ok", "answers")

    return check


def workers_check(cache: redis.Redis) -> Check:
    """Count the heartbeats. No worker means that transfers are accepted and wait."""

    def check() -> Component:
        try:
            alive = len(heartbeats.alive(cache))
        except redis.RedisError:
            return Component(
                "degraded", "unknown: the cache, which keeps their heartbeats, is down"
            )
        if alive == 0:
            return Component(
                "degraded", f"no heartbeat within {heartbeats.FRESH_S} s; transfers wait"
            )
        return Component("ok", f"{alive} alive")

    return check


def all_checks(
    *, engine: Engine, broker_url: str, cache_url: str, prices: Check
) -> dict[str, Check]:
    """Every component that the HTTP contract names, and its check."""
    cache = cache_client(cache_url)
    return {
        "database": database_check(engine),
        "broker": broker_check(broker_url),
        "cache": cache_check(cache),
        "prices": prices,
        "workers": workers_check(cache),
    }
