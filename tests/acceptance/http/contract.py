"""Contract checks: assertions that every answer of the API must satisfy."""

from __future__ import annotations

from typing import Any

import requests

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

TRANSFER_FIELDS = [
    "id",
    "idempotency_key",
    "source",
    "destination",
    "asset",
    "amount",
    "state",
    "capture",
    "expires_at",
    "reference",
    "metadata",
    "failure",
    "refund_of",
    "refunded",
    "group",
    "created_at",
    "updated_at",
]
WALLET_FIELDS = [
    "id",
    "owner",
    "asset",
    "kind",
    "name",
    "external_id",
    "status",
    "balance",
    "reserved",
    "incoming",
    "available",
    "metadata",
    "created_at",
]
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


def assert_problem(answer: requests.Response, status: int, code: str) -> dict[str, Any]:
    """Check a problem from its status to its request id. Returns: its members."""
    assert answer.headers["Content-Type"] == PROBLEM_JSON, answer.text
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    assert problem["type"] == f"urn:truepenny:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    return problem


def assert_invalid(answer: requests.Response, *, pointer: str | None = None) -> None:
    """Check a validation problem, and which field it points at."""
    problem = assert_problem(answer, 400, "invalid_request")
    if pointer is not None:
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
