"""The Flask application: its routes, and what happens around each of them."""

from __future__ import annotations

from collections.abc import Callable
from http.client import BAD_REQUEST, TOO_MANY_REQUESTS, UNAUTHORIZED
from typing import Any

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from api.authentication import authenticate, is_caller_known
from api.body_reading import discard_rest
from api.error_handlers import register_error_handlers
from api.measuring import measure_requests
from api.negotiation import require_json_accepted
from api.rate_limits.headers import add_rate_headers
from api.request_ids import HEADER, bind_ids_to_logs, request_id
from api.routes import all_blueprints
from api.services import EXTENSION, Services

PREFIX = "/v1"
HEARD_WITHIN_S = 1.0
"""How long a refused client's body is read and forgotten, so that it hears the refusal."""
STRANGER_HEARD_WITHIN_S = 0.05
"""The same for whoever has no key: what has arrived already, and no waiting."""

REFUSALS_OF_STRANGERS = (UNAUTHORIZED, TOO_MANY_REQUESTS)


def create_app(services: Services, *, proxy_hops: int = 0) -> Flask:
    """Build the application around its services. Connects to nothing.

    proxy_hops: how many proxies of ours each request comes through. Each adds to
    X-Forwarded-For whom it has it from; what stands before that, anybody may have written.
    """
    app = _Application("truepenny", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # Allow on a 405 says it all
    app.url_map.merge_slashes = False  # a wrong address is an error, not a redirect
    app.extensions[EXTENSION] = services

    measure_requests(app)
    bind_ids_to_logs(app)

    # Three steps before each request, in this order: who calls, how often, and what it accepts.
    @app.before_request
    def authenticate_caller() -> None:
        # Also for addresses that do not exist: strangers learn nothing about them.
        if request.path.startswith(PREFIX + "/"):
            authenticate(services.keys, count_failure=services.failed_auth_limit.count_failure)

    services.write_limit.init_app(app)

    @app.before_request
    def check_what_is_accepted() -> None:
        if request.path.startswith(PREFIX + "/"):
            require_json_accepted(request)

    app.after_request(_finish)
    register_error_handlers(app)
    for blueprint in all_blueprints(PREFIX):
        app.register_blueprint(blueprint)
    if proxy_hops:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]  # Flask's own way to wrap it
            app.wsgi_app, x_for=proxy_hops, x_proto=0, x_host=0
        )
    return app


class _Application(Flask):
    """Flask, spared from asking three times per request whether a function is a coroutine."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def _finish(response: Response) -> Response:
    if response.status_code >= BAD_REQUEST:
        stranger = response.status_code in REFUSALS_OF_STRANGERS and not is_caller_known()
        discard_rest(
            request.environ, within_s=STRANGER_HEARD_WITHIN_S if stranger else HEARD_WITHIN_S
        )
    add_rate_headers(response)
    headers = response.headers
    headers.add(HEADER, request_id())
    headers.add("X-Content-Type-Options", "nosniff")
    if "Cache-Control" not in headers:
        headers.add("Cache-Control", "no-store")
    return response
