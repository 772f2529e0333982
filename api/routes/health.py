"""Health: for probes and for people, without a key."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from flask import Blueprint, Response

from api.responses import json_response
from api.services import services
from monitoring.consequences import explain

RETRY_AFTER_S = 1

_READINESS: Final = {
    "database": "the database answers",
    "broker": "the database does not answer: transfers are buffered in the broker",
    None: "neither the database nor the broker answers: transfers are refused",
}
"""What to say of readiness, by where transfers can be stored."""


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
    document = {**asdict(report), "components": explain(report.components)}
    return _answer(document, is_well=report.status != "down")


def ready() -> Response:
    """Say whether this process can take transfers, and why (not)."""
    store = services().health.store()
    status = "down" if store is None else "ok"
    return _answer({"status": status, "detail": _READINESS[store]}, is_well=store is not None)


def live() -> Response:
    """Say that this process answers. It asks nobody else: their faults are not cured here."""
    return json_response({"status": "ok"})


def _answer(document: dict[str, object], *, is_well: bool) -> Response:
    if is_well:
        return json_response(document)
    return json_response(document, 503, {"Retry-After": str(RETRY_AFTER_S)})
