"""Reads Redis's INFO: how much memory is used, whether that is too much, what else is wrong.

Guarantees one reading for all: what refuses new work, /health, the metrics and beat's watch use
these functions, so they cannot contradict each other. Pure: the caller brings the answer of INFO.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ServerRole = Literal["broker", "cache"]

BROKER_FULL_PERCENT = 85
"""From this share of its memory on the broker is full: the API refuses before the broker must."""
BROKER_RELIEVED_PERCENT = 80
"""Below this share it is full no longer. The gap keeps it from changing with every message."""
CACHE_FULL_PERCENT = 95
"""A cache that evicts stays just below its limit."""

MEMORY = "memory"
"""The code of the finding that a server's memory is full."""

COUNTERS = ("evicted_keys", "rejected_connections")


@dataclass(frozen=True, slots=True)
class ServerFinding:
    """Something amiss: a static code, and a sentence that goes on after the server's name.

    refuses: while it lasts, the server takes nothing, or nothing more is given to it.
    """

    code: str
    detail: str
    refuses: bool = False


def findings(
    role: ServerRole, info: Mapping[str, Any], *, was_full: bool = False
) -> list[ServerFinding]:
    """Return what is wrong with a server in this role, the worst first.

    was_full: whether this broker was full at the look before.
    """
    of_role = _of_broker(info, was_full=was_full) if role == "broker" else _of_cache(info)
    return [*_of_replication(info), *of_role]


def is_loading(info: Mapping[str, Any]) -> bool:
    """Whether the server still reads its data after a start and does nothing else."""
    return bool(info.get("loading"))


def memory_share(info: Mapping[str, Any]) -> float | None:
    """Return how full the memory is, as the server itself counts; None without a limit."""
    limit = int(info.get("maxmemory") or 0)
    if limit <= 0:
        return None
    # Buffers towards replicas and the disk do not count when the server decides to refuse.
    used = int(info.get("used_memory") or 0) - int(info.get("mem_not_counted_for_evict") or 0)
    return max(used, 0) / limit


def memory_percent(info: Mapping[str, Any]) -> int | None:
    """Return the same in whole percent, rounded down."""
    share = memory_share(info)
    return None if share is None else int(100 * share)


def is_full(share: float | None, *, before: bool) -> bool:
    """Whether a broker with this share of its memory in use takes no new work.

    share: None when nobody knows it. before: whether it was full at the look before.
    """
    mark = BROKER_RELIEVED_PERCENT if before else BROKER_FULL_PERCENT
    return share is not None and share >= mark / 100


def counters(info: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts that only grow while the server runs."""
    return {name: int(info.get(name) or 0) for name in COUNTERS}


def grown(
    role: ServerRole, before: Mapping[str, int], now: Mapping[str, int]
) -> list[ServerFinding]:
    """Return what has happened between two looks at the counters."""
    found = []
    if evicted := _growth("evicted_keys", before, now):
        lost = "messages may be lost" if role == "broker" else "its memory is too small"
        found.append(ServerFinding("evicted", f"threw away {evicted} keys to make room: {lost}"))
    if rejected := _growth("rejected_connections", before, now):
        found.append(
            ServerFinding("rejected", f"refused {rejected} connections: its maxclients is too low")
        )
    return found


def _growth(name: str, before: Mapping[str, int], now: Mapping[str, int]) -> int:
    count = now.get(name, 0)
    earlier = before.get(name, count)  # at the first look nobody knows since when
    # A server that was started again counts from zero.
    return count - earlier if count >= earlier else count


def _of_replication(info: Mapping[str, Any]) -> list[ServerFinding]:
    if info.get("role", "master") == "master":
        return []
    said = "is a read-only copy of another server and takes nothing: name the one that it copies"
    return [ServerFinding("replica", said, refuses=True)]


def _of_broker(info: Mapping[str, Any], *, was_full: bool) -> list[ServerFinding]:
    found = _of_disk(info)
    if is_full(memory_share(info), before=was_full):
        said = f"{memory_percent(info)} % of its memory is used: new transfers are refused until"
        found.insert(0, ServerFinding(MEMORY, f"{said} it has room", refuses=True))
    policy = info.get("maxmemory_policy")
    if policy not in (None, "noeviction"):
        said = f"its maxmemory-policy is {policy}, which throws messages away: set noeviction"
        found.append(ServerFinding("policy", said))
    return found


def _of_disk(info: Mapping[str, Any]) -> list[ServerFinding]:
    if not info.get("aof_enabled", 1):
        said = "keeps nothing on disk, so a restart loses what is buffered: set appendonly yes"
        return [ServerFinding("no_aof", said)]
    found = []
    if info.get("aof_last_write_status", "ok") != "ok":
        said = "cannot write to its disk and takes nothing until it can: is the disk full?"
        found.append(ServerFinding("aof_write", said, refuses=True))
    if info.get("aof_last_bgrewrite_status", "ok") != "ok":
        said = "could not rewrite its log, which grows without end: is the disk full?"
        found.append(ServerFinding("aof_rewrite", said))
    return found


def _of_cache(info: Mapping[str, Any]) -> list[ServerFinding]:
    found = []
    percent = memory_percent(info)
    if percent is None:
        said = "has no memory limit and grows until the machine is full: set maxmemory"
        found.append(ServerFinding("no_limit", said))
    elif percent >= CACHE_FULL_PERCENT:
        said = f"{percent} % of its memory is used: it forgets what was used least"
        found.append(ServerFinding(MEMORY, said))
    policy = str(info.get("maxmemory_policy", "allkeys-lru"))
    if not policy.startswith("allkeys-"):
        said = f"its maxmemory-policy is {policy}, so it refuses when full: set allkeys-lru"
        found.append(ServerFinding("policy", said))
    return found
