"""Health checks: one for each component, with the cheapest request that proves it works.

Guarantees that every check gives up on its own within seconds, and uses its own connections: a
pool that is busy with transfers does not tell whether the database answers.
"""

from __future__ import annotations

from collections.abc import Callable

import redis
from sqlalchemy import Engine

from ledger.buffer.missing import count_lost
from ledger.buffer.set_aside import count_aside
from ledger.errors import Refused, Replaced, Unaccepted, Unavailable
from ledger.postgres.database import autocommit, durability_settings_that_are_off, probe
from monitoring.health.broker_probe import (
    BrokerReading,
    NotServing,
    redis_client,
    redis_findings,
    redis_info,
)
from monitoring.health.redis_info import ServerFinding, server_id
from monitoring.health.report import Check, Component
from monitoring.heartbeats import heartbeat_cache

_PROGRAMS = {
    "money": "transfers are accepted but wait; start a money worker",
    "scans": "stuck transfers are not re-driven and prices not refreshed; start a scans worker",
    "beat": "no scan is scheduled, so stuck transfers are not re-driven; start beat",
}
"""The programs that must send heartbeats, and what it means if one does not."""


REFUSES = "refuses the connection, because DATABASE_URL or the server is set up wrongly"


def database_check(engine: Engine) -> Check:
    """Return the check that the database accepts writes. The engine limits the time it may take."""

    def check() -> Component:
        try:
            probe(engine)
            with autocommit(engine) as connection:
                off = durability_settings_that_are_off(connection)
        except (Replaced, Unaccepted) as error:
            return Component(
                "down", f"answers, but is not used: {error.detail[0].lower()}{error.detail[1:]}"
            )
        except Refused:
            # Not what the server says: that may name the user and the address.
            return Component("down", f"{REFUSES}; the log says why")
        if off:
            lost = "accepted transfers may be lost when its machine crashes"
            return Component("degraded", f"answers, but {' and '.join(off)} is off: {lost}")
        return Component("ok", "answers")

    return check


def broker_check(read: Callable[[], BrokerReading]) -> Check:
    """Return the check that shows the reading by which this process refuses new work.

    read: takes a reading now; raises when the broker does not answer.
    """

    def check() -> Component:
        try:
            reading = read()
        except NotServing as error:
            return Component("down", str(error))
        return _component(reading.well, reading.findings, reading.server_id)

    return check


def cache_check(client: redis.Redis) -> Check:
    """Return the check of the cache: it answers, and is neither full nor set up wrongly."""

    def check() -> Component:
        try:
            info = redis_info(client)
        except NotServing as error:
            return Component("down", str(error))
        id = None if info is None else server_id(info)
        return _component(*redis_findings("cache", info), id)

    return check


def books_check(engine: Engine) -> Check:
    """Return the check that nothing is left for an operator to decide. It reads the database."""

    def check() -> Component:
        try:
            with autocommit(engine) as connection:
                aside = sum(count_aside(connection).values())
                lost = count_lost(connection)
        except Unavailable:
            return Component("degraded", "unknown: the database does not answer")
        found = []
        if lost:
            found.append(
                f"{lost} buffered requests that were answered 202 are lost: see "
                "python -m tasks.buffer lost"
            )
        if aside:
            found.append(
                f"{aside} entries of the buffer are set aside and not carried out: see "
                "python -m tasks.buffer list"
            )
        if found:
            return Component("degraded", "; ".join(found))
        return Component("ok", "nothing is lost or set aside")

    return check


def _component(well: str, found: list[ServerFinding], id: str | None) -> Component:
    if not found:
        return Component("ok", well, server_id=id)
    details = "; ".join(each.detail for each in found)
    refuses = any(each.refuses for each in found)
    return Component("degraded", details, refuses=refuses, server_id=id)


def workers_check(cache: redis.Redis, *, key_prefix: str) -> Check:
    """Return the check of the heartbeats. Without workers, transfers are accepted and wait."""

    def check() -> Component:
        try:
            ages_s = heartbeat_cache.ages_s(cache, key_prefix=key_prefix)
        except redis.RedisError:
            return Component(
                "degraded", "unknown: the cache, which holds the heartbeats, does not answer"
            )
        return workers_component(ages_s)

    return check


def workers_component(ages_s: dict[str, int]) -> Component:
    """Sum up heartbeats, given by name as ages. A program may have several workers."""
    youngest_s: dict[str, int] = {}
    alive: dict[str, int] = {}
    for name, age_s in ages_s.items():
        program = heartbeat_cache.program_of(name)
        youngest_s[program] = min(age_s, youngest_s.get(program, age_s))
        alive[program] = alive.get(program, 0) + (age_s <= heartbeat_cache.FRESH_S)
    missing = [name for name in _PROGRAMS if not alive.get(name)]
    if missing:
        details = (
            f"{name}: {_silence(youngest_s.get(name))}; {_PROGRAMS[name]}" for name in missing
        )
        return Component("degraded", " · ".join(details))
    counts = (f"{alive[name]} {name}" for name in sorted(alive) if alive[name])
    return Component("ok", f"alive: {', '.join(counts)}")


def _silence(age_s: int | None) -> str:
    return "no heartbeat" if age_s is None else f"no heartbeat for {age_s} s"


def all_checks(
    *,
    engine: Engine,
    read_broker: Callable[[], BrokerReading],
    cache_url: str,
    key_prefix: str,
    prices: Check,
) -> dict[str, Check]:
    """Return the check of every component that the HTTP contract names."""
    cache = redis_client(cache_url)
    return {
        "database": database_check(engine),
        "broker": broker_check(read_broker),
        "cache": cache_check(cache),
        "prices": prices,
        "workers": workers_check(cache, key_prefix=key_prefix),
        "books": books_check(engine),
    }
