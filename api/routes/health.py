"""Health: reports for probes and for people, without a key."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response

from api.http.responses import json_response
from api.schemas.health import HealthAnswer, LiveAnswer, ReadyAnswer, health_answer
from api.services import services

RETRY_AFTER_S = 1

_READINESS: Final = {
    "database": "the database answers",
    "broker": "the database does not answer: transfers are buffered on the broker",
    None: "neither the database nor the broker answers: new transfers are refused",
}
"""The detail of readiness, by where transfers can be stored."""
_FULL: Final = "the queues are full: new transfers are refused until there is room again"


def blueprint() -> Blueprint:
    """Return the routes below /health."""
    routes = Blueprint("health", __name__, url_prefix="/health")
    routes.get("")(health)
    routes.get("/ready")(ready)
    routes.get("/live")(live)
    return routes


def health() -> Response:
    """Report how each part is doing: 200, or 503 when no transfer can be stored."""
    report = services().health.report()
    return _answer(health_answer(report), is_well=report.status != "down")


def ready() -> Response:
    """Report whether this process can take transfers, and why or why not."""
    store = services().health.store()
    # While the queues are full, a store that answers does not make it ready.
    is_full = store is not None and services().is_overloaded()
    is_well = store is not None and not is_full
    detail = _FULL if is_full else _READINESS[store]
    return _answer({"status": "ok" if is_well else "down", "detail": detail}, is_well=is_well)


def live() -> Response:
    """Report that this process answers. Asks no server: a restart here would not mend one."""
    return json_response(LiveAnswer(status="ok"))


def _answer(document: HealthAnswer | ReadyAnswer, *, is_well: bool) -> Response:
    if is_well:
        return json_response(document)
    return json_response(document, 503, {"Retry-After": str(RETRY_AFTER_S)})
