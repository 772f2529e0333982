"""Metrics: for Prometheus, without a key."""

from __future__ import annotations

from flask import Blueprint, Response, request

from api.services import services


def blueprint() -> Blueprint:
    """Return the route of the metrics."""
    routes = Blueprint("metrics", __name__)
    routes.get("/metrics")(metrics)
    return routes


def metrics() -> Response:
    """Print everything that is measured, and what can be seen now."""
    printed = services().metrics_page.render(request.headers.get("Accept", ""))
    return Response(printed.content, content_type=printed.content_type)
