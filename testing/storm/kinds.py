"""Kinds of faults that a storm may plan, and which of them may be there at the same time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of fault. Two of one domain never overlap."""

    name: str
    domain: str
    counters: tuple[str, ...] = ()
    """What must have happened at least once when it was planned."""
    not_beside: tuple[str, ...] = ()


KINDS = (
    Kind("worker killed", "worker"),
    Kind("worker child killed", "worker"),
    Kind("worker frozen", "worker"),
    Kind("worker child frozen", "worker"),
    Kind(
        "killed between commit and publish",
        "worker",
        ("redriven",),
        not_beside=("database", "broker"),
    ),
    Kind(
        "destination frozen",
        "worker",
        ("rolled back after credit",),
        not_beside=("database", "broker"),
    ),
    Kind("messages doubled", "worker", not_beside=("database", "broker")),
    Kind("scans killed", "scans"),
    Kind("scans frozen", "scans"),
    Kind("beat killed", "beat"),
    Kind("beat frozen", "beat"),
    Kind("two beats", "beat"),
    Kind("api process killed", "api"),
    Kind("api killed", "api"),
    Kind("api process frozen", "api"),
    Kind("rolling restart", "worker", not_beside=("api", "scans", "beat")),
    Kind("worker clock wrong", "worker"),
    Kind("beat clock wrong", "beat"),
    Kind("failover", "database", ("buffered", "failover under load")),
    Kind("database disk full", "database"),
    Kind("database killed", "database", ("buffered",)),
    Kind("database postmaster killed", "database"),
    Kind("database frozen", "database"),
    Kind("database sessions ended", "database"),
    Kind("database cut", "database"),
    Kind("database slow", "database"),
    Kind("database half-open", "database"),
    Kind("database deaf", "database"),
    Kind("database drops answers", "database"),
    Kind("wallet locked", "wallet", not_beside=("database",)),
    Kind("broker killed", "broker"),
    Kind("broker frozen", "broker"),
    Kind("broker emptied", "broker", not_beside=("database",)),
    Kind("broker forged", "broker"),
    Kind("broker full", "broker", ("overloaded",)),
    Kind("broker cut", "broker"),
    Kind("broker slow", "broker"),
    Kind("broker half-open", "broker"),
    Kind("broker deaf", "broker"),
    Kind("broker drops answers", "broker"),
    Kind("cache killed", "cache"),
    Kind("cache frozen", "cache"),
    Kind("cache emptied", "cache"),
    Kind("cache full", "cache"),
)


def go_together(one: Kind, other: Kind) -> bool:
    kept_away = {*one.not_beside, *other.not_beside}
    return one.domain != other.domain and not {one.domain, other.domain} & kept_away
