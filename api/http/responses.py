"""Responses: JSON documents and problems, as bytes with their content type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flask import Response
from pydantic_core import PydanticSerializationError, to_json
from werkzeug.datastructures import Headers

from api.http.headers import JSON, PROBLEM_JSON, request_id
from api.http.problems import TABLE, Problem
from ledger.postgres import exact_json
from monitoring.metrics.cardinality import OTHER
from monitoring.metrics.catalogue import PROBLEMS

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def json_response(
    document: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with a document."""
    try:
        body = to_json(document)
    except PydanticSerializationError:  # it has a decimal number in metadata, which is rare
        body = exact_json.dumps(document).encode()
    return _WholeResponse(body, status, headers, content_type=JSON)


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a problem, and count it. headers: in addition to the problem's own."""
    PROBLEMS.labels(problem.code if problem.code in TABLE else OTHER).inc()
    return _WholeResponse(
        to_json(problem.as_json(request_id=request_id())),
        problem.status,
        {**problem.headers, **(headers or {})},
        content_type=PROBLEM_JSON,
    )


class _WholeResponse(Response):
    """A response with a body of bytes, whose headers are sent as they are.

    Werkzeug would look through them for a length that is set already, and for a Location that is
    not an address yet.
    """

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:  # noqa: ARG002 - werkzeug's
        return self.headers
