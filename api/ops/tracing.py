"""A trace for each request to the contract that is sampled, around the whole application.

Guarantees that one which is not sampled costs next to nothing, and that a trace is named after
its route, never after its address: that has ids in it, and whatever else a client wrote.
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
    """Wraps an application whose answers are whole when it returns."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        # Probes, pages and their reports come all the time, and tell nothing about money.
        if not environ["PATH_INFO"].startswith(PREFIX):
            return self._application(environ, start_response)
        with tracing.begin("request", op="http.server") as transaction:
            if transaction is None:
                return self._application(environ, start_response)
            return self._traced(transaction, environ, start_response)

    def _traced(
        self, transaction: Transaction, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        def note_answer(status: str, *rest: Any) -> Any:
            # Here, where Flask has not yet forgotten the request.
            method = environ["REQUEST_METHOD"]
            method = method if method in METHODS else "other"
            transaction.name = f"{method} {_route(environ)}"
            transaction.source = "route"
            transaction.set_data("http.request.method", method)
            transaction.set_http_status(int(status[:3]))
            return start_response(status, *rest)

        return self._application(environ, note_answer)


def _route(environ: WSGIEnvironment) -> str:
    """The route that Flask found: `/v1/transfers/{transfer_id}`."""
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return UNKNOWN_ROUTE if rule is None else template(rule.rule)
