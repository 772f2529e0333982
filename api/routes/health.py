"""Health: for probes and for people, without a key."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response

from api.responses import json_response
from api.services import services


def blueprint() -> Blueprint:
    """Return the routes below /health."""
    routes = Blueprint("health", __name__, url_prefix="/health")
    routes.get("")(health)
    routes.get("/live")(live)
    return routes


def health() -> Response:
    """Say how each part is doing: 200, or 503 when nothing can be stored."""
    report = services().health.report()
    return json_response(asdict(report), 503 if report.status == "down" else 200)


def live() -> Response:
    """Say that this process answers. It asks nobody else: their faults are not cured here."""
    return json_response({"status": "ok"})
