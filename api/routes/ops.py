"""Operations: the overview of all components, for admins."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth.api_keys import admin
from api.http.responses import json_response
from api.http.validation import require_no_query
from api.ops.overview import overview_answer
from api.services import services


def blueprint(prefix: str) -> Blueprint:
    """Return the routes below /ops."""
    routes = Blueprint("ops", __name__, url_prefix=f"{prefix}/ops")
    routes.get("/overview")(overview)
    return routes


def overview() -> Response:
    """Report the state of all components, as far as it can be read within about a second."""
    admin()
    require_no_query()
    snapshot = services().snapshots.take()
    return json_response(overview_answer(snapshot, flower_url=services().flower_url))
