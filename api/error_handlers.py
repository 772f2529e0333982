"""The last line: whatever a view raises becomes a problem."""

from __future__ import annotations

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from api.problems import Problem, from_ledger, internal_error
from api.responses import problem_response
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
    """Make sure that no error leaves the application in another shape."""
    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(LedgerError, _ledger_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _bug)


def _ledger_error(error: LedgerError) -> Response:
    problem = from_ledger(error)
    if problem.status == internal_error().status:
        _log(error)
    return problem_response(problem)


def _http_error(error: HTTPException) -> Response:
    """Answer what Werkzeug found out by itself: no such route, or not with this method."""
    if error.code is None or error.code >= internal_error().status:
        return _bug(error)
    code = _CODES.get(error.code, "invalid_request")
    detail = {
        "not_found": "There is nothing at this address.",
        "method_not_allowed": "Not with this method; Allow says with which.",
    }.get(code, "The request cannot be understood.")
    # Werkzeug knows the methods that Allow must name; everything else is ours to say.
    allow = {name: value for name, value in error.get_headers() if name == "Allow"}
    return problem_response(Problem(code, detail, headers=allow))


def _bug(error: Exception) -> Response:
    _log(error)
    return problem_response(internal_error())


def _log(error: Exception) -> None:
    log.error("request_failed", exc_info=error, method=request.method)
