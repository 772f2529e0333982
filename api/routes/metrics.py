"""Metrics: the page that Prometheus reads, without a key."""

from __future__ import annotations

from flask import Blueprint, Response, request

from api.services import services


def blueprint() -> Blueprint:
    """Return the route of the metrics."""
    routes = Blueprint("metrics", __name__)
    routes.get("/metrics")(metrics)
    return routes


def metrics() -> Response:
    """Return the metrics of all programs of this machine, and those of the snapshot."""
    page = services().metrics_page.render(request.headers.get("Accept", ""))
    return Response(page.content, content_type=page.content_type)
