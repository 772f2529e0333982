"""What the overview for operators looks like in its answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from api.answers import price_json, time_text
from api.sights import Seen
from ledger.states import FINISHED, UNFINISHED
from monitoring.consequences import explain
from monitoring.heartbeats import FRESH_S, program_of
from monitoring.scan_notes import SHOWN, ScanNote

Json = dict[str, Any]

_INTAKE: Final = "intake"
PURPOSES: Final = {
    "money.advance": "batches under way",
    "money.reserve": "kicks for what is accepted",
    "scans": "recovery, drain, reconciliation and counts",
    "watch": "prices and the watch over broker and cache",
    _INTAKE: "requests buffered while the database is away",
}
"""What waits in each queue."""
_BREAKER: Final = {
    "closed": "the database is asked",
    "open": "the database is away: nothing waits for it, and transfers are buffered",
    "half-open": "the database was away: a probe tries whether it is back",
}
_NEVER_RAN: Final = "no run is on record: it has not run, or the cache was emptied since"
_NEVER_RECONCILED: Final = "it has never run"
_PARTS: Final = {
    "database": ("transfers",),
    "broker": ("buffered", "queues"),
    "cache": ("workers", "scans"),
    "prices": ("prices",),
}
"""Which parts of the answer come from where."""


def overview_json(seen: Seen, *, flower_url: str | None) -> Json:
    """Describe what was seen. flower_url: where operators find Flower, if anywhere."""
    return {
        "at": time_text(seen.at),
        "status": seen.health.status,
        "components": {
            name: {"status": each.status, "detail": each.detail}
            for name, each in explain(seen.health.components).items()
        },
        "transfers": _transfers(seen),
        "queues": _queues(seen),
        "workers": _workers(seen),
        "breakers": [
            {
                "name": "database",
                "state": seen.breaker_state,
                "detail": _BREAKER[seen.breaker_state],
            }
        ],
        "prices": None if seen.prices is None else [price_json(quote) for quote in seen.prices],
        "scans": _scans(seen),
        "flower_url": flower_url,
        "unknown": {part: why for place, why in seen.unknown.items() for part in _PARTS[place]},
    }


def _transfers(seen: Seen) -> Json:
    standing = None if seen.database is None else seen.database.standing
    states: Json = {"buffered": None if seen.broker is None else seen.broker.buffered}
    for state in (*UNFINISHED, *FINISHED):
        states[state] = None if standing is None else standing.states[state]
    oldest = standing and standing.oldest_unfinished
    return {
        "states": states,
        "settled_last_minute": None if standing is None else standing.settled_last_minute,
        "oldest_unfinished": oldest
        and {"id": str(oldest.id), "state": oldest.state, "age_s": round(oldest.age_s, 3)},
    }


def _queues(seen: Seen) -> list[Json] | None:
    if seen.broker is None:
        return None
    waiting = {**seen.broker.queues, _INTAKE: seen.broker.buffered}
    return [
        {"name": name, "waiting": count, "purpose": PURPOSES[name]}
        for name, count in waiting.items()
    ]


def _workers(seen: Seen) -> list[Json] | None:
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


def _scans(seen: Seen) -> list[Json] | None:
    if seen.cache is None:
        return None
    scans = [_scan(name, seen.cache.notes.get(name), seen.at) for name in SHOWN]
    if seen.database is None:
        return scans
    # Its last run is in the database, the others' are in the cache.
    books = seen.database.books
    note = None if books is None else books.note
    return [*scans, _scan("reconciliation", note, seen.at, without=_NEVER_RECONCILED)]


def _scan(name: str, note: ScanNote | None, now: datetime, *, without: str = _NEVER_RAN) -> Json:
    if note is None:
        return {"name": name, "at": None, "ok": False, "result": without}
    at = now - timedelta(seconds=note.age_s)
    return {"name": name, "at": time_text(at), "ok": note.ok, "result": note.result}
