"""Flask application: the routes, and the steps before and after each request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from api.auth.api_keys import authenticate, require_right_to_write
from api.http.errors import register_error_handlers
from api.http.headers import (
    REQUEST_ID,
    bind_ids_to_logs,
    request_id,
    require_json_accepted,
    require_single_headers,
)
from api.ops.request_metrics import measure_requests
from api.rate_limits.headers import add_rate_headers
from api.routes import all_blueprints
from api.services import EXTENSION, Services

PREFIX = "/v1"


def create_app(services: Services, *, proxy_hops: int = 0) -> Flask:
    """Build the application around its services. Connects to nothing.

    proxy_hops: how many proxies of ours each request comes through. Each adds the address of
    its sender to X-Forwarded-For; any client may have written what stands before those.
    """
    app = _Application("truepenny", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # the Allow header of a 405 is enough
    app.url_map.merge_slashes = False  # a wrong address is an error, not a redirect
    app.extensions[EXTENSION] = services

    measure_requests(app)
    bind_ids_to_logs(app)

    # The checks before each request, in this order: refuse repeated headers, authenticate,
    # count a write (two functions that `init_app` registers), check the key's scope and Accept. The
    # two lines above run before them.
    @app.before_request
    def authenticate_caller() -> None:
        # Also for addresses that do not exist: without a key one cannot find out which do.
        if request.path.startswith(PREFIX + "/"):
            require_single_headers(request.environ)
            authenticate(services.keys, count_failure=services.failed_auth_limit.count_failure)

    services.write_limit.init_app(app)

    app.before_request(require_right_to_write)

    @app.before_request
    def check_accept_header() -> None:
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
    """Flask without its check, three times per request, whether a function is a coroutine."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def _finish(response: Response) -> Response:
    add_rate_headers(response)
    headers = response.headers
    headers.add(REQUEST_ID, request_id())
    headers.add("X-Content-Type-Options", "nosniff")
    if "Cache-Control" not in headers:
        headers.add("Cache-Control", "no-store")
    return response
