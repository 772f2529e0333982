"""The watch over broker and cache: tells when something begins to be amiss, and when it is over.

Guarantees that each finding is told once for as long as it lasts, not with every look, and
that nothing but the local disk is needed to know what was told: the servers that are watched
may be the ones that are away. What it remembers may be lost; it then tells again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import amqp
import redis

from monitoring.health.broker_probe import (
    NotServing,
    broker_probe,
    redis_client,
    redis_findings,
    redis_info,
)
from monitoring.health.redis_info import MEMORY, ServerFinding, ServerRole, counters, grown
from monitoring.logs import get_logger

OVER_AFTER_LOOKS = 3
"""A finding that comes and goes at its threshold is told once, not each time."""
_AWAY = ServerFinding("away", "does not answer")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServerState:
    """What one look at a server found, and its counters where it has any."""

    findings: list[ServerFinding]
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Known:
    """What is known of one server from the looks before.

    missed: the findings that were told and not ended, each with the number of looks in a
    row that no longer found it.
    """

    counters: dict[str, int] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)


class ServerWatch:
    """Looks at servers and tells what changed. Its memory is one small file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def look(self, *, broker_url: str, cache_url: str) -> list[str]:
        """Look at both. Takes some seconds at most, whatever hangs.

        Returns: what is amiss now, each in a sentence that begins with the server's role.
        Raises: OSError: when what was told cannot be remembered; it has been told.
        """
        known = self._read()
        urls: tuple[tuple[ServerRole, str], ...] = (("broker", broker_url), ("cache", cache_url))
        amiss = []
        for role, url in urls:
            before = known.get(role, Known())
            seen = _look_at(role, url, before)
            known[role] = tell(role, seen, before)
            amiss += [f"{role} {finding.detail}" for finding in seen.findings]
        self._write(known)
        return amiss

    def _read(self) -> dict[str, Known]:
        try:
            document = json.loads(self._file.read_text())
            return {role: Known(**known) for role, known in document.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError):
            log.warning("watch_forgot", file=str(self._file))
            return {}

    def _write(self, known: Mapping[str, Known]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        document = {
            role: {"counters": each.counters, "missed": each.missed} for role, each in known.items()
        }
        partial.write_text(json.dumps(document))
        partial.replace(self._file)


def tell(role: ServerRole, seen: ServerState, known: Known) -> Known:
    """Log what is new and what is over. Returns: what is known from now on."""
    found = {each.code: each for each in seen.findings}
    found |= {each.code: each for each in grown(role, known.counters, seen.counters)}
    for code, finding in found.items():
        if code not in known.missed:
            log.warning("server_amiss", server=role, finding=code, detail=finding.detail)
    missed = dict.fromkeys(found, 0)
    for code in known.missed.keys() - found.keys():
        looks = known.missed[code] + 1
        if looks < OVER_AFTER_LOOKS:
            missed[code] = looks
        else:
            # As loud as its beginning, for whoever is waiting for it.
            log.warning("server_well_again", server=role, finding=code)
    return Known(seen.counters or known.counters, missed)


def _look_at(role: ServerRole, url: str, before: Known) -> ServerState:
    try:
        # Found by the last look, not by an earlier one.
        was_full = before.missed.get(MEMORY) == 0
        return _see_broker(url, was_full=was_full) if role == "broker" else _see_cache(url)
    except NotServing as error:
        return ServerState([ServerFinding("loading", str(error))])
    except (redis.RedisError, amqp.AMQPError, OSError):
        return ServerState([_AWAY])


def _see_broker(url: str, *, was_full: bool) -> ServerState:
    with closing(broker_probe(url)) as probe:
        reading = probe.read(was_full=was_full)
    return ServerState(reading.findings, reading.counters)


def _see_cache(url: str) -> ServerState:
    with closing(redis_client(url)) as client:
        info: Mapping[str, Any] | None = redis_info(client)
    if info is None:
        return ServerState([])
    return ServerState(redis_findings("cache", info)[1], counters(info))
