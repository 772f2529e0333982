"""For operators: how the whole stands, in one answer."""

from __future__ import annotations

from flask import Blueprint, Response

from api.authentication import admin
from api.overview import overview_answer
from api.responses import json_response
from api.services import services
from api.validation import require_no_query


def blueprint(prefix: str) -> Blueprint:
    """Return the routes below /ops."""
    routes = Blueprint("ops", __name__, url_prefix=f"{prefix}/ops")
    routes.get("/overview")(overview)
    return routes


def overview() -> Response:
    """Say how everything stands, as far as it can be known within about a second."""
    admin()
    require_no_query()
    used = services()
    return json_response(overview_answer(used.sights.seen(), flower_url=used.flower_url))
