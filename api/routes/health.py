"""Health: reports for probes and for people, without a key."""

from __future__ import annotations

from flask import Blueprint, Response

from api.http.responses import json_response
from api.process_state import process_state
from api.schemas.health import HealthAnswer, LiveAnswer, ReadyAnswer, health_answer
from api.services import services

RETRY_AFTER_S = 1


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
    """Report whether requests should be sent to this process.

    Asks no server. They are the same for all replicas: if an outage made one unready, it would
    make all unready, and a balancer would answer in the place of the API, also what it can do.
    """
    if process_state.is_stopping:
        stopping = "this process is stopping and takes no more requests"
        return _answer({"status": "down", "detail": stopping}, is_well=False)
    return _answer({"status": "ok", "detail": "this process takes requests"}, is_well=True)


def live() -> Response:
    """Report that this process answers. Asks no server: a restart here would not mend one."""
    return json_response(LiveAnswer(status="ok"))


def _answer(document: HealthAnswer | ReadyAnswer, *, is_well: bool) -> Response:
    if is_well:
        return json_response(document)
    return json_response(document, 503, {"Retry-After": str(RETRY_AFTER_S)})
