"""Documentation: the OpenAPI document and a page that shows it, with all its files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

from flask import Blueprint, Response, send_file
from werkzeug.exceptions import NotFound

from api.http.responses import json_response
from api.openapi.document import build_document

_OURS: Final = Path(__file__).parent.parent / "documentation"
_SWAGGER_UI: Final = "flask_swagger_ui"
_ASSETS: Final = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_DAY_S: Final = 86_400

# Nothing from other servers, nothing inline, and no frames.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def blueprint() -> Blueprint:
    """Return the routes /openapi.json, /docs, and the files of that page."""
    routes = Blueprint("documentation", __name__)
    routes.get("/openapi.json")(document)
    routes.get("/docs")(page)
    routes.get("/docs/<name>")(asset)
    return routes


def document() -> Response:
    """Serve the OpenAPI document."""
    return json_response(build_document())


def page() -> Response:
    """Serve the page that shows the document."""
    response = send_file(_OURS / "page.html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def asset(name: str) -> Response:
    """Serve a file that the page needs. Raises: NotFound: for any other."""
    if name == "start.js":
        return send_file(_OURS / name)
    if name not in _ASSETS:
        raise NotFound
    return send_file(Path(str(resources.files(_SWAGGER_UI) / "dist" / name)), max_age=_DAY_S)
