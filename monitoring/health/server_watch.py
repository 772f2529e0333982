"""Server watch: logs when a finding about broker or cache begins and when it is over.

Guarantees that each finding is logged once for as long as it lasts, not with every check. What
was reported is kept on the local disk alone: the watched servers may be the ones that are away.
If that file is lost, the findings are reported again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
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
from monitoring.health.redis_info import (
    MEMORY,
    SHARED,
    SHARED_BROKER,
    ServerFinding,
    ServerRole,
    counters,
    grown,
    server_id,
)
from monitoring.logs import get_logger

OVER_AFTER_CHECKS = 3
"""A finding that comes and goes around its threshold is reported once, not each time."""
_AWAY = ServerFinding("away", "does not answer")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServerState:
    """The findings of one check of a server, its counters if it has any, and which server it is."""

    findings: list[ServerFinding]
    counters: dict[str, int] = field(default_factory=dict)
    server_id: str | None = None


@dataclass(slots=True)
class ServerHistory:
    """What the checks before found about one server.

    missed: the findings that were reported and are not over, each with the number of
    consecutive checks that no longer found it.
    """

    counters: dict[str, int] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)


class ServerWatch:
    """Checks the servers and logs what changed. Its state is one small file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def check(self, *, broker_url: str, cache_url: str) -> list[str]:
        """Check both servers. Takes a few seconds at most, even if a server hangs.

        Returns: what is wrong now, each as a sentence that begins with the server's role.
        Raises: OSError: when the state cannot be saved; the findings have been logged.
        """
        histories = self._read()
        urls: tuple[tuple[ServerRole, str], ...] = (("broker", broker_url), ("cache", cache_url))
        states: dict[ServerRole, ServerState] = {}
        for role, url in urls:
            histories.setdefault(role, ServerHistory())
            states[role] = _check_server(role, url, histories[role])
        problems = []
        for role, state in _with_shared_server(states["broker"], states["cache"]).items():
            histories[role] = log_changes(role, state, histories[role])
            problems += [f"{role} {finding.detail}" for finding in state.findings]
        self._write(histories)
        return problems

    def _read(self) -> dict[str, ServerHistory]:
        try:
            document = json.loads(self._file.read_text())
            return {role: ServerHistory(**history) for role, history in document.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError):
            log.warning("watch_forgot", file=str(self._file))
            return {}

    def _write(self, histories: Mapping[str, ServerHistory]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        document = {
            role: {"counters": each.counters, "missed": each.missed}
            for role, each in histories.items()
        }
        partial.write_text(json.dumps(document))
        partial.replace(self._file)


def _with_shared_server(broker: ServerState, cache: ServerState) -> dict[ServerRole, ServerState]:
    """Return both; of one server that is both, only what is wrong with it as a broker."""
    if broker.server_id is not None and broker.server_id == cache.server_id:
        shared = ServerFinding(SHARED, SHARED_BROKER)
        broker, cache = replace(broker, findings=[*broker.findings, shared]), ServerState([])
    return {"broker": broker, "cache": cache}


def log_changes(role: ServerRole, state: ServerState, history: ServerHistory) -> ServerHistory:
    """Log findings that are new and those that are over. Returns: the history from now on."""
    found = {each.code: each for each in state.findings}
    found |= {each.code: each for each in grown(role, history.counters, state.counters)}
    for code, finding in found.items():
        if code not in history.missed:
            log.warning("server_amiss", server=role, finding=code, detail=finding.detail)
    missed = dict.fromkeys(found, 0)
    for code in history.missed.keys() - found.keys():
        checks = history.missed[code] + 1
        if checks < OVER_AFTER_CHECKS:
            missed[code] = checks
        else:
            # At the level of its beginning: it must reach the same readers.
            log.warning("server_well_again", server=role, finding=code)
    return ServerHistory(state.counters or history.counters, missed)


def _check_server(role: ServerRole, url: str, history: ServerHistory) -> ServerState:
    try:
        if role == "cache":
            return _check_cache(url)
        # Full at the last check, not at an earlier one.
        was_full = history.missed.get(MEMORY) == 0
        with closing(broker_probe(url)) as probe:
            reading = probe.read(was_full=was_full)
        return ServerState(reading.findings, reading.counters, reading.server_id)
    except NotServing as error:
        return ServerState([ServerFinding("loading", str(error))])
    except (redis.RedisError, amqp.AMQPError, OSError):
        return ServerState([_AWAY])


def _check_cache(url: str) -> ServerState:
    with closing(redis_client(url)) as client:
        info: Mapping[str, Any] | None = redis_info(client)
    if info is None:
        return ServerState([])
    return ServerState(redis_findings("cache", info)[1], counters(info), server_id(info))
