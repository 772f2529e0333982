"""The Idempotency-Key header: what makes it safe to send a request again."""

from __future__ import annotations

from flask import request

from api.http.problems import Problem
from api.schemas.fields import KEY_RULE, is_usable_key

HEADER = "Idempotency-Key"


def idempotency_key() -> str:
    """Return the request's key.

    Raises: Problem idempotency_key_missing: when there is none, or it is empty.
    Problem invalid_request: when it is over-long or not printable.
    """
    return read_key(request.headers.get(HEADER))


def read_key(header: str | None) -> str:
    """Return the key in a header as WSGI hands it over: bytes that look like Latin-1."""
    if not header:
        raise missing_key(HEADER)
    try:
        key = header.encode("latin-1").decode("utf-8")
    except UnicodeError as error:
        raise Problem("invalid_request", f"{HEADER} is not valid UTF-8.") from error
    if not is_usable_key(key):
        raise Problem("invalid_request", f"{HEADER} {KEY_RULE}.")
    return key


def missing_key(where: str) -> Problem:
    """Make the problem of a request that would not be safe to repeat."""
    return Problem(
        "idempotency_key_missing",
        f"{where} is required: it makes a repeat of the request harmless.",
    )
