"""Overview for operators: turns a snapshot into the answer of /v1/ops/overview."""

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
from ledger.postgres.table_owner import OWNER_WARNING
from ledger.states import State
from monitoring.heartbeats.heartbeat_cache import FRESH_S, program_of
from monitoring.job_runs import SHOWN, JobNote, ShownScan

_INTAKE: Final = "intake"
_ASIDE: Final = "set aside"
PURPOSES: Final = {
    "money.advance": "batches under way",
    "money.reserve": "kicks for newly accepted transfers",
    "scans": "recovery, drain, reconciliation and counts",
    "watch": "prices, and the checks of broker and cache",
    _INTAKE: "requests buffered while the database is away",
    _ASIDE: "buffer entries that were not replayed: an operator has to look at them",
}
"""What waits in each queue."""
_BREAKER: Final[dict[BreakerState, str]] = {
    "closed": "the database is used",
    "open": "the database is away: no request waits for it, and transfers are buffered",
    "half-open": "the database was away: a probe tests whether it is back",
}
_NEVER_RAN: Final = "no run is recorded: it has not run, or the cache was emptied since"
_NEVER_RECONCILED: Final = "it has never run"
_PARTS: Final[dict[str, tuple[UnknownPart, ...]]] = {
    "database": ("transfers",),
    "broker": ("buffered", "queues"),
    "cache": ("workers", "scans"),
    "prices": ("prices",),
}
"""The parts of the answer that each part of the snapshot is needed for."""


def overview_answer(snapshot: Snapshot, *, flower_url: str | None) -> OverviewAnswer:
    """Describe a snapshot. flower_url: where operators find Flower, if it is known."""
    breaker = cast(BreakerState, snapshot.breaker_state)
    prices = snapshot.prices
    return {
        "at": time_text(snapshot.at),
        "status": snapshot.health.status,
        "components": components_answer(snapshot.health),
        "transfers": _transfers(snapshot),
        "queues": _queues(snapshot),
        "workers": _workers(snapshot),
        "breakers": [{"name": "database", "state": breaker, "detail": _BREAKER[breaker]}],
        "prices": None if prices is None else [price_answer(quote) for quote in prices],
        "scans": _scans(snapshot),
        "warnings": [OWNER_WARNING] if snapshot.database and snapshot.database.is_owner else [],
        "flower_url": flower_url,
        "unknown": {part: why for name, why in snapshot.unknown.items() for part in _PARTS[name]},
    }


def _transfers(snapshot: Snapshot) -> StandingAnswer:
    counts = None if snapshot.database is None else snapshot.database.counts
    oldest = None if counts is None else counts.oldest_unfinished
    # Every state is counted: either all numbers are known, or none is.
    states: dict[State, int] = {} if counts is None else counts.states
    return {
        "states": {
            "buffered": None if snapshot.broker is None else snapshot.broker.buffered,
            "accepted": states.get("accepted"),
            "reserved": states.get("reserved"),
            "deducted": states.get("deducted"),
            "credited": states.get("credited"),
            "committed": states.get("committed"),
            "rejected": states.get("rejected"),
            "rolled_back": states.get("rolled_back"),
        },
        "settled_last_minute": None if counts is None else counts.settled_last_minute,
        "oldest_unfinished": None
        if oldest is None
        else {"id": str(oldest.id), "state": oldest.state, "age_s": round(oldest.age_s, 3)},
    }


def _queues(snapshot: Snapshot) -> list[QueueAnswer] | None:
    if snapshot.broker is None:
        return None
    waiting = {**snapshot.broker.queues, _INTAKE: snapshot.broker.buffered}
    if snapshot.database is not None:
        waiting[_ASIDE] = sum(snapshot.database.set_aside.values())
    return [
        {"name": name, "waiting": count, "purpose": PURPOSES[name]}
        for name, count in waiting.items()
    ]


def _workers(snapshot: Snapshot) -> list[WorkerAnswer] | None:
    if snapshot.cache is None:
        return None
    return [
        {
            "name": name,
            "program": program_of(name),
            "age_s": age_s,
            "alive": age_s <= FRESH_S,
        }
        for name, age_s in sorted(snapshot.cache.heartbeats.items())
    ]


def _scans(snapshot: Snapshot) -> list[ScanAnswer] | None:
    if snapshot.cache is None:
        return None
    names = [name for name in SHOWN if name != "prices" or snapshot.has_prices]
    scans = [_scan(name, snapshot.cache.notes.get(name), snapshot.at) for name in names]
    if snapshot.database is None:
        return scans
    # The last reconciliation is in the database; the other scans are in the cache.
    status = snapshot.database.reconciliation
    note = None if status is None else status.note
    return [*scans, _scan("reconciliation", note, snapshot.at, without=_NEVER_RECONCILED)]


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
