"""The check of each component: connect as the component's users do, ask the cheapest question.

Guarantees that every check gives up by itself within seconds, and uses connections of its
own: a pool that is busy with payments says nothing about whether the database answers.
"""

from __future__ import annotations

from collections.abc import Callable

import redis
from sqlalchemy import Engine

from ledger.postgres.database import probe
from monitoring.health.broker_probe import (
    BrokerReading,
    NotServing,
    redis_client,
    redis_findings,
    redis_info,
)
from monitoring.health.redis_info import ServerFinding
from monitoring.health.report import Check, Component
from monitoring.heartbeats import heartbeat_cache

_PROGRAMS = {
    "money": "transfers are taken and wait",
    "scans": "transfers that stand still are not driven on, and prices are not refreshed",
    "beat": "nothing is scheduled, so what stands still is not driven on",
}
"""What must beat, by the first part of its name, and what it means when it does not."""


def database_check(engine: Engine) -> Check:
    """Ask the database whether it takes writes. The engine bounds how long its answer may take."""

    def check() -> Component:
        probe(engine)
        return Component("ok", "answers")

    return check


def broker_check(look: Callable[[], BrokerReading]) -> Check:
    """Report the reading by which this process refuses new work.

    look: takes a reading now; raises when the broker does not answer.
    """

    def check() -> Component:
        try:
            reading = look()
        except NotServing as error:
            return Component("down", str(error))
        return _component(reading.well, reading.findings)

    return check


def cache_check(client: redis.Redis) -> Check:
    """Ask the cache how it is."""

    def check() -> Component:
        try:
            info = redis_info(client)
        except NotServing as error:
            return Component("down", str(error))
        return _component(*redis_findings("cache", info))

    return check


def _component(well: str, found: list[ServerFinding]) -> Component:
    if not found:
        return Component("ok", well)
    said = "; ".join(each.detail for each in found)
    return Component("degraded", said, refuses=any(each.refuses for each in found))


def workers_check(cache: redis.Redis) -> Check:
    """Look at the heartbeats. Without workers, transfers are accepted and wait."""

    def check() -> Component:
        try:
            ages_s = heartbeat_cache.ages_s(cache)
        except redis.RedisError:
            return Component("degraded", "unknown: the cache, which has their heartbeats, is away")
        return workers_component(ages_s)

    return check


def workers_component(ages_s: dict[str, int]) -> Component:
    """Sum up the ages of heartbeats, by name. There may be many workers of one program."""
    youngest_s: dict[str, int] = {}
    alive: dict[str, int] = {}
    for name, age_s in ages_s.items():
        program = heartbeat_cache.program_of(name)
        youngest_s[program] = min(age_s, youngest_s.get(program, age_s))
        alive[program] = alive.get(program, 0) + (age_s <= heartbeat_cache.FRESH_S)
    missing = [name for name in _PROGRAMS if not alive.get(name)]
    if missing:
        said = (f"{name}: {_silence(youngest_s.get(name))}; {_PROGRAMS[name]}" for name in missing)
        return Component("degraded", " · ".join(said))
    counts = (f"{alive[name]} {name}" for name in sorted(alive) if alive[name])
    return Component("ok", f"alive: {', '.join(counts)}")


def _silence(age_s: int | None) -> str:
    return "no heartbeat" if age_s is None else f"no heartbeat for {age_s} s"


def all_checks(
    *, engine: Engine, look_at_broker: Callable[[], BrokerReading], cache_url: str, prices: Check
) -> dict[str, Check]:
    """Every component that the HTTP contract names, and its check."""
    cache = redis_client(cache_url)
    return {
        "database": database_check(engine),
        "broker": broker_check(look_at_broker),
        "cache": cache_check(cache),
        "prices": prices,
        "workers": workers_check(cache),
    }
