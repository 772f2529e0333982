"""Job runs: records in the cache how and when a scan last ended, to detect one that stopped.

Guarantees that a record costs a scan almost nothing and never makes it fail, and that ages are by
one clock, the cache server's. The records are in the cache because it answers while the database
is away, when some scans go on. If the cache loses them, each scan writes its record again with
its next run, within seconds; a scan whose record stays away has stopped. The consistency scan is
not among them: its runs are in the database (`ledger.reconciliation.runs`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Literal, cast

from redis import Redis, RedisError

from monitoring.logs import get_logger
from resilience.cooldown import Cooldown
from resilience.outage_log import OutageLog
from resilience.redis_client import connect

ShownScan = Literal["recovery", "drain", "prices", "servers"]
ScanName = Literal[ShownScan, "counts"]
SHOWN: Final[tuple[ShownScan, ...]] = ("recovery", "drain", "prices", "servers")
"""The scans that are shown to operators."""
NAMES: Final[tuple[ScanName, ...]] = (*SHOWN, "counts")
"""All scans recorded here. `counts` is not shown: only the numbers that it keeps matter."""

_KEY = "scans"
_TIMEOUT_S = 0.25
_COOLDOWN_S = 5.0
_MAX_LENGTH = 300
_AHEAD_S = 1.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JobNote:
    """How the last run of a scan ended, as a sentence of our own, and how long ago."""

    ok: bool
    result: str
    age_s: float


class JobRuns:
    """Records the runs of the scans of one process. Create it after the fork."""

    def __init__(self, cache_url: str, *, key_prefix: str) -> None:
        self._key = key_prefix + _KEY
        self._cache = connect(cache_url, _TIMEOUT_S)
        self._cooldown = Cooldown(_COOLDOWN_S)
        self._outage = OutageLog(log, "scan_not_noted", repeats=True)

    def record(self, name: ScanName, *, ok: bool, result: str) -> None:
        """Record that a run has just ended. Never raises, and takes half a second at most."""
        if not self._cooldown.allows():
            return
        try:
            at_s = _server_time_s(self._cache)
            note = {"at_s": at_s, "ok": ok, "result": result[:_MAX_LENGTH]}
            self._cache.hset(self._key, name, json.dumps(note))
        except RedisError as error:
            self._cooldown.start()
            self._outage.failed(scan=name, error=type(error).__name__)
        else:
            self._cooldown.end()
            self._outage.recovered()


def read_notes(cache: Redis, *, key_prefix: str) -> dict[str, JobNote]:
    """Return the last record of each scan that has one.

    A record from the future, written before the server's clock was set back, is left out: a
    scan that runs replaces it within seconds, and one that stopped must not seem recent.
    Raises: redis.RedisError: when the cache does not answer.
    """
    now_s = _server_time_s(cache)
    found = cast(dict[bytes, bytes], cache.hgetall(key_prefix + _KEY))
    notes = {name.decode(): _read(content, now_s) for name, content in found.items()}
    return {name: note for name, note in notes.items() if note is not None}


def _read(content: bytes, now_s: float) -> JobNote | None:
    try:
        note = json.loads(content)
        age_s = now_s - float(note["at_s"])
        if age_s < -_AHEAD_S:
            return None
        return JobNote(ok=bool(note["ok"]), result=str(note["result"]), age_s=max(age_s, 0.0))
    except (ValueError, TypeError, KeyError):  # of another version: our next run replaces it
        return None


def _server_time_s(cache: Redis) -> float:
    seconds, microseconds = cache.time()
    return seconds + microseconds / 1_000_000
