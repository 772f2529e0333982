"""Request tracing: wraps the application and traces each sampled request to the API.

Guarantees that a request which is not sampled costs next to nothing, and that a trace is named
after its route, never after its address, which holds ids and any other text of the client.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from api.ops.request_metrics import METHODS, template
from monitoring.sentry import tracing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from sentry_sdk.tracing import Transaction

PREFIX = "/v1/"
UNKNOWN_ROUTE = "nowhere"


class TracedRequests:
    """Wraps an application that returns each answer as a whole, not as a stream."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        # Probes, pages and their reports are frequent, and tell nothing about money.
        if not environ["PATH_INFO"].startswith(PREFIX):
            return self._application(environ, start_response)
        with tracing.begin("request", op="http.server") as transaction:
            if transaction is None:
                return self._application(environ, start_response)

            def start_traced(status: str, *rest: Any) -> Any:
                # Only now, when Flask has found the route and still knows the request.
                _describe(transaction, environ, status)
                return start_response(status, *rest)

            return self._application(environ, start_traced)


def _describe(transaction: Transaction, environ: WSGIEnvironment, status: str) -> None:
    """Put the route, such as `/v1/transfers/{transfer_id}`, the method and the status on it."""
    method = environ["REQUEST_METHOD"]
    method = method if method in METHODS else "other"
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    route = UNKNOWN_ROUTE if rule is None else template(rule.rule)
    transaction.name = f"{method} {route}"
    transaction.source = "route"
    transaction.set_data("http.request.method", method)
    transaction.set_http_status(int(status[:3]))
