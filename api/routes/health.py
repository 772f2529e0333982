"""Health: for probes and for people, without a key."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response

from api.http.responses import json_response
from api.schemas.health import HealthAnswer, LiveAnswer, ReadyAnswer, health_answer
from api.services import services

RETRY_AFTER_S = 1

_READINESS: Final = {
    "database": "the database answers",
    "broker": "the database does not answer: transfers are buffered in the broker",
    None: "neither the database nor the broker takes anything: transfers are refused",
}
"""What to say of readiness, by where transfers can be stored."""
_FULL: Final = "the queues are too full for more: new transfers are refused until they have room"


def blueprint() -> Blueprint:
    """Return the routes below /health."""
    routes = Blueprint("health", __name__, url_prefix="/health")
    routes.get("")(health)
    routes.get("/ready")(ready)
    routes.get("/live")(live)
    return routes


def health() -> Response:
    """Say how each part is doing: 200, or 503 when nothing can be stored."""
    report = services().health.report()
    return _answer(health_answer(report), is_well=report.status != "down")


def ready() -> Response:
    """Say whether this process can take transfers, and why (not)."""
    store = services().health.store()
    # A store is no use while nothing new is let in.
    is_full = store is not None and services().is_overloaded()
    is_well = store is not None and not is_full
    detail = _FULL if is_full else _READINESS[store]
    return _answer({"status": "ok" if is_well else "down", "detail": detail}, is_well=is_well)


def live() -> Response:
    """Say that this process answers. It asks nobody else: their faults are not cured here."""
    return json_response(LiveAnswer(status="ok"))


def _answer(document: HealthAnswer | ReadyAnswer, *, is_well: bool) -> Response:
    if is_well:
        return json_response(document)
    return json_response(document, 503, {"Retry-After": str(RETRY_AFTER_S)})
