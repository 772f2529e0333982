"""Readings of Redis's INFO: memory in use, whether that is too much, and other findings.

Guarantees that all readers agree: the refusal of new work, /health, the metrics and the server
watch use these functions. Pure: the caller passes the answer of INFO.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ServerRole = Literal["broker", "cache"]

BROKER_FULL_PERCENT = 85
"""From here on the broker counts as full: the API refuses work before the broker has to."""
BROKER_RELIEVED_PERCENT = 80
"""Below this it is no longer full. The gap prevents a change with every message."""
CACHE_FULL_PERCENT = 95
"""A cache that evicts keys stays just below its limit."""

MEMORY = "memory"
"""The code of the finding that a server's memory is full."""

SHARED = "shared"
"""The code of the finding that one server is both broker and cache."""
SHARED_BROKER = (
    "is the same server as the cache, so messages and cached values fill one memory, and a cache "
    "that is emptied takes messages with it: set CACHE_URL to a server of its own (another "
    "database number is not enough)"
)
SHARED_CACHE = "is the same server as the broker: set CACHE_URL to a server of its own"

COUNTERS = ("evicted_keys", "rejected_connections")


@dataclass(frozen=True, slots=True)
class ServerFinding:
    """Something wrong: a static code, and a sentence that continues after the server's role.

    refuses: while it lasts, the server accepts nothing, or is given no new work.
    """

    code: str
    detail: str
    refuses: bool = False


def findings(
    role: ServerRole, info: Mapping[str, Any], *, was_full: bool = False
) -> list[ServerFinding]:
    """Return what is wrong with a server in this role, the worst first.

    was_full: whether this broker was full at the reading before.
    """
    found = []
    if info.get("role", "master") != "master":
        detail = "is a read-only replica and accepts no writes: set the URL of its primary"
        found.append(ServerFinding("replica", detail, refuses=True))
    if role == "broker":
        return found + _broker_findings(info, was_full=was_full)
    return found + _cache_findings(info)


def is_loading(info: Mapping[str, Any]) -> bool:
    """Whether the server is still loading its data after a start and does nothing else."""
    return bool(info.get("loading"))


def server_id(info: Mapping[str, Any]) -> str | None:
    """Return what tells this server from every other, whatever its URL; None if it does not say.

    It is new after each start, so it is only compared with one read at the same time.
    """
    return str(info.get("run_id") or "") or None


def memory_share(info: Mapping[str, Any]) -> float | None:
    """Return the used share of the memory, as the server counts it; None without a limit."""
    limit = int(info.get("maxmemory") or 0)
    if limit <= 0:
        return None
    # The server does not count buffers for replicas and the disk when it decides to refuse.
    used = int(info.get("used_memory") or 0) - int(info.get("mem_not_counted_for_evict") or 0)
    return max(used, 0) / limit


def memory_percent(info: Mapping[str, Any]) -> int | None:
    """Return the same in whole percent, rounded down."""
    share = memory_share(info)
    return None if share is None else int(100 * share)


def is_full(share: float | None, *, before: bool) -> bool:
    """Whether a broker with this share of its memory in use counts as full.

    share: None if unknown. before: whether it was full at the reading before.
    """
    limit_percent = BROKER_RELIEVED_PERCENT if before else BROKER_FULL_PERCENT
    return share is not None and share >= limit_percent / 100


def durability(appendfsync: str | None, *, confirms: bool) -> ServerFinding | None:
    """Return what is wrong with how a broker brings buffered requests to its disk.

    appendfsync: its setting, None if it does not tell. confirms: whether WAITAOF can be asked.
    """
    if confirms and appendfsync == "no":
        detail = (
            "never confirms that a request is on its disk, so that requests get 503 while the "
            "database is away: set appendfsync always"
        )
    elif confirms or appendfsync == "always":
        return None
    elif appendfsync is None:
        detail = (
            "does not tell whether a buffered request is on its disk, so a crash may lose some: "
            "use Redis 7.2 or newer, or permit WAITAOF, or CONFIG GET appendfsync"
        )
    else:
        detail = (
            f"its appendfsync is {appendfsync}, so a crash may lose buffered requests that were "
            "answered 202: set appendfsync always, or use Redis 7.2 or newer"
        )
    return ServerFinding("fsync", detail)


def counters(info: Mapping[str, Any]) -> dict[str, int]:
    """Return the counters, which only grow while the server runs."""
    return {name: int(info.get(name) or 0) for name in COUNTERS}


def grown(
    role: ServerRole, before: Mapping[str, int], now: Mapping[str, int]
) -> list[ServerFinding]:
    """Return a finding for each counter that grew between two readings."""
    found = []
    if evicted := _growth("evicted_keys", before, now):
        meaning = "messages may be lost: raise" if role == "broker" else "it is too small: raise"
        detail = f"evicted {evicted} keys to free memory; {meaning} maxmemory"
        found.append(ServerFinding("evicted", detail))
    if rejected := _growth("rejected_connections", before, now):
        detail = f"refused {rejected} connections: raise maxclients"
        found.append(ServerFinding("rejected", detail))
    return found


def _growth(name: str, before: Mapping[str, int], now: Mapping[str, int]) -> int:
    count = now.get(name, 0)
    earlier = before.get(name, count)  # the first reading has nothing to compare with
    # A server that was restarted counts from zero.
    return count - earlier if count >= earlier else count


def _broker_findings(info: Mapping[str, Any], *, was_full: bool) -> list[ServerFinding]:
    found = []
    if is_full(memory_share(info), before=was_full):
        detail = (
            f"{memory_percent(info)} % of its memory is used: new transfers are refused until it "
            f"is below {BROKER_RELIEVED_PERCENT} %"
        )
        found.append(ServerFinding(MEMORY, detail, refuses=True))
    if not info.get("aof_enabled", 1):
        detail = "stores nothing on disk, so a restart loses buffered requests: set appendonly yes"
        found.append(ServerFinding("no_aof", detail))
    elif info.get("aof_last_write_status", "ok") != "ok":
        detail = "cannot write to its disk and accepts nothing until it can: is the disk full?"
        found.append(ServerFinding("aof_write", detail, refuses=True))
    if info.get("aof_enabled", 1) and info.get("aof_last_bgrewrite_status", "ok") != "ok":
        detail = "could not rewrite its append-only file, which keeps growing: is the disk full?"
        found.append(ServerFinding("aof_rewrite", detail))
    policy = info.get("maxmemory_policy")
    if policy not in (None, "noeviction"):
        detail = f"its maxmemory-policy is {policy}, which deletes messages: set noeviction"
        found.append(ServerFinding("policy", detail))
    return found


def _cache_findings(info: Mapping[str, Any]) -> list[ServerFinding]:
    found = []
    percent = memory_percent(info)
    if percent is None:
        detail = "has no memory limit and grows until the machine is full: set maxmemory"
        found.append(ServerFinding("no_limit", detail))
    elif percent >= CACHE_FULL_PERCENT:
        detail = f"{percent} % of its memory is used: it evicts the least used keys"
        found.append(ServerFinding(MEMORY, detail))
    policy = str(info.get("maxmemory_policy", "allkeys-lru"))
    if not policy.startswith("allkeys-"):
        detail = (
            f"its maxmemory-policy is {policy}, so it refuses writes when full: set allkeys-lru"
        )
        found.append(ServerFinding("policy", detail))
    return found
