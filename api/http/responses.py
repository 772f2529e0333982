"""Responses: JSON documents and problems, as bytes with their content type."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response
from pydantic_core import PydanticSerializationError, to_json

from api.http.headers import JSON, PROBLEM_JSON, request_id
from api.http.problems import TABLE, Problem
from ledger.postgres import exact_json
from monitoring.metrics.cardinality import OTHER
from monitoring.metrics.catalogue import PROBLEMS


def json_response(
    document: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with a document."""
    try:
        body = to_json(document)
    except PydanticSerializationError:  # it has a decimal number in metadata, which is rare
        body = exact_json.dumps(document).encode()
    return Response(body, status, headers, content_type=JSON)


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a problem, and count it. headers: in addition to the problem's own."""
    PROBLEMS.labels(problem.code if problem.code in TABLE else OTHER).inc()
    return Response(
        to_json(problem.as_json(request_id=request_id())),
        problem.status,
        {**problem.headers, **(headers or {})},
        content_type=PROBLEM_JSON,
    )
