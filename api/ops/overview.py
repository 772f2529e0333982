"""Answer of the overview for operators, made from what was seen of every part."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal, cast

from api.ops.snapshot import Snapshot
from api.schemas.fields import time_text
from api.schemas.health import components_answer
from api.schemas.ops import (
    BreakerState,
    OverviewAnswer,
    QueueAnswer,
    ScanAnswer,
    StandingAnswer,
    UnknownPart,
    WorkerAnswer,
)
from api.schemas.prices import price_answer
from ledger.states import State
from monitoring.heartbeats.heartbeat_cache import FRESH_S, program_of
from monitoring.job_runs import SHOWN, JobNote, ShownScan

_INTAKE: Final = "intake"
PURPOSES: Final = {
    "money.advance": "batches under way",
    "money.reserve": "kicks for what is accepted",
    "scans": "recovery, drain, reconciliation and counts",
    "watch": "prices and the watch over broker and cache",
    _INTAKE: "requests buffered while the database is away",
}
"""What waits in each queue."""
_BREAKER: Final[dict[BreakerState, str]] = {
    "closed": "the database is asked",
    "open": "the database is away: nothing waits for it, and transfers are buffered",
    "half-open": "the database was away: a probe tries whether it is back",
}
_NEVER_RAN: Final = "no run is on record: it has not run, or the cache was emptied since"
_NEVER_RECONCILED: Final = "it has never run"
_PARTS: Final[dict[str, tuple[UnknownPart, ...]]] = {
    "database": ("transfers",),
    "broker": ("buffered", "queues"),
    "cache": ("workers", "scans"),
    "prices": ("prices",),
}
"""Which parts of the answer come from where."""


def overview_answer(seen: Snapshot, *, flower_url: str | None) -> OverviewAnswer:
    """Describe what was seen. flower_url: where operators find Flower, if anywhere."""
    breaker = cast(BreakerState, seen.breaker_state)
    return {
        "at": time_text(seen.at),
        "status": seen.health.status,
        "components": components_answer(seen.health),
        "transfers": _transfers(seen),
        "queues": _queues(seen),
        "workers": _workers(seen),
        "breakers": [{"name": "database", "state": breaker, "detail": _BREAKER[breaker]}],
        "prices": None if seen.prices is None else [price_answer(quote) for quote in seen.prices],
        "scans": _scans(seen),
        "flower_url": flower_url,
        "unknown": {part: why for place, why in seen.unknown.items() for part in _PARTS[place]},
    }


def _transfers(seen: Snapshot) -> StandingAnswer:
    standing = None if seen.database is None else seen.database.standing
    oldest = None if standing is None else standing.oldest_unfinished
    # Each state is counted, so none is missing but while all are unknown.
    counts: dict[State, int] = {} if standing is None else standing.states
    return {
        "states": {
            "buffered": None if seen.broker is None else seen.broker.buffered,
            "accepted": counts.get("accepted"),
            "reserved": counts.get("reserved"),
            "deducted": counts.get("deducted"),
            "credited": counts.get("credited"),
            "committed": counts.get("committed"),
            "rejected": counts.get("rejected"),
            "rolled_back": counts.get("rolled_back"),
        },
        "settled_last_minute": None if standing is None else standing.settled_last_minute,
        "oldest_unfinished": None
        if oldest is None
        else {"id": str(oldest.id), "state": oldest.state, "age_s": round(oldest.age_s, 3)},
    }


def _queues(seen: Snapshot) -> list[QueueAnswer] | None:
    if seen.broker is None:
        return None
    waiting = {**seen.broker.queues, _INTAKE: seen.broker.buffered}
    return [
        {"name": name, "waiting": count, "purpose": PURPOSES[name]}
        for name, count in waiting.items()
    ]


def _workers(seen: Snapshot) -> list[WorkerAnswer] | None:
    if seen.cache is None:
        return None
    return [
        {
            "name": name,
            "program": program_of(name),
            "age_s": age_s,
            "alive": age_s <= FRESH_S,
        }
        for name, age_s in sorted(seen.cache.heartbeats.items())
    ]


def _scans(seen: Snapshot) -> list[ScanAnswer] | None:
    if seen.cache is None:
        return None
    scans = [_scan(name, seen.cache.notes.get(name), seen.at) for name in SHOWN]
    if seen.database is None:
        return scans
    # Its last run is in the database, the others' are in the cache.
    books = seen.database.books
    note = None if books is None else books.note
    return [*scans, _scan("reconciliation", note, seen.at, without=_NEVER_RECONCILED)]


def _scan(
    name: Literal[ShownScan, "reconciliation"],
    note: JobNote | None,
    now: datetime,
    *,
    without: str = _NEVER_RAN,
) -> ScanAnswer:
    if note is None:
        return {"name": name, "at": None, "ok": False, "result": without}
    at = now - timedelta(seconds=note.age_s)
    return {"name": name, "at": time_text(at), "ok": note.ok, "result": note.result}
