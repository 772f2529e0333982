"""Routes of the wallet page, the ops page and their assets.

Guarantees a Content-Security-Policy that allows only files of this server: nothing inline,
nothing from other servers, no text turned into markup, and no framing by other pages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from api.web_files import FIRST_SCRIPT, PREFIX, WebFile, WebFiles, read_web_files

_FOLDER: Final = Path(__file__).parents[2] / "web"
_YEAR_S: Final = 31_536_000

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
PAGE_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
ASSET_HEADERS: Final = {
    "Cache-Control": f"public, max-age={_YEAR_S}, immutable",
    "Cross-Origin-Resource-Policy": "same-origin",
}
FIRST_SCRIPT_HEADERS: Final = ASSET_HEADERS | {"Cache-Control": "no-cache"}


def blueprint() -> Blueprint:
    """Return the two pages, and all assets below /assets."""
    files = read_web_files(_FOLDER)
    routes = Blueprint("pages", __name__)
    routes.get("/", endpoint="wallet")(lambda: _page(files, "wallet"))
    routes.get("/ops", endpoint="ops")(lambda: _page(files, "ops"))

    @routes.get(f"{PREFIX}/{FIRST_SCRIPT}")
    def first_script() -> Response:
        return _response(files.assets[FIRST_SCRIPT], FIRST_SCRIPT_HEADERS)

    @routes.get(f"{PREFIX}/<version>/<path:name>")
    def asset(version: str, name: str) -> Response:
        # Assets of another version are refused, so that a page never mixes two releases.
        if version != files.version or name not in files.assets:
            raise NotFound
        return _response(files.assets[name], ASSET_HEADERS)

    return routes


def _page(files: WebFiles, name: str) -> Response:
    return _response(files.pages[name], PAGE_HEADERS)


def _response(file: WebFile, headers: dict[str, str]) -> Response:
    response = Response(file.content, headers=headers, content_type=file.content_type)
    response.set_etag(file.etag)
    response.make_conditional(request)
    return response
