"""Error handlers: turn every exception of a view into a problem."""

from __future__ import annotations

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from api.http.problems import Problem, from_ledger, internal_error
from api.http.responses import problem_response
from ledger.errors import LedgerError
from monitoring.logs import get_logger

_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
}

log = get_logger(__name__)


def register_error_handlers(app: Flask) -> None:
    """Register a handler for every kind of error, so that no answer has another shape."""
    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(LedgerError, _ledger_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected_error)


def _ledger_error(error: LedgerError) -> Response:
    problem = from_ledger(error)
    if problem.status == internal_error().status:
        _log(error)
    return problem_response(problem)


def _http_error(error: HTTPException) -> Response:
    """Answer an error that Werkzeug raised: no such route, or a method that it does not have."""
    if error.code is None or error.code >= internal_error().status:
        return _unexpected_error(error)
    code = _CODES.get(error.code, "invalid_request")
    detail = {
        "not_found": "There is nothing at this address.",
        "method_not_allowed": "This method is not allowed here; see the Allow header.",
    }.get(code, "This is not a valid request.")
    # Werkzeug knows which methods Allow must name; its other headers are not needed.
    allow = {name: value for name, value in error.get_headers() if name == "Allow"}
    return problem_response(Problem(code, detail, headers=allow))


def _unexpected_error(error: Exception) -> Response:
    _log(error)
    return problem_response(internal_error())


def _log(error: Exception) -> None:
    log.error("request_failed", exc_info=error, method=request.method)
