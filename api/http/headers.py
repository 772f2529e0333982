"""Request headers: reads and checks the key, Prefer, Accept, Content-Type and request id."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

from flask import Flask, Request, request
from structlog.contextvars import bind_contextvars, clear_contextvars
from werkzeug.http import parse_options_header

from api.http.problems import Problem
from api.schemas.fields import KEY_RULE, is_usable_key

IDEMPOTENCY_KEY = "Idempotency-Key"
REQUEST_ID = "X-Request-Id"
AT_MOST_ONCE = ("Authorization", IDEMPOTENCY_KEY, REQUEST_ID)
"""Headers with one value. Content-Type, Content-Length and Host are too, but gunicorn itself
refuses those. Prefer and Accept are lists, which may be spread over several headers."""
REPEATED = "REPEATED HEADERS"
"""A header that `api/gunicorn_request.py` adds; no client can, as its name has a space."""
JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
MAX_WAIT_S = 20

# Split at commas, but not at those within a quoted string.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*")+')
_WAIT = re.compile(r'\s*wait\s*=\s*(?:([0-9]{1,9})|"([0-9]{1,9})")\s*(?:;.*)?', re.IGNORECASE)
_HARMLESS = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_OFFERED = "HTTP_X_REQUEST_ID"
_REPEATED = f"HTTP_{REPEATED}"
_CHOSEN = "truepenny.request_id"


def repeated_headers(names: Sequence[str]) -> list[str]:
    """Return which headers that may be given at most once are given more often.

    names: of all headers of a request as they were received, in capital letters.
    """
    return [name for name in AT_MOST_ONCE if names.count(name.upper()) > 1]


def require_single_headers(environ: dict[str, Any]) -> None:
    """Raises: Problem invalid_request: when a header that has one value is repeated.

    Neither the first nor the last nor both joined can be what the client meant.
    """
    if names := environ.get(_REPEATED):
        first, *_ = names.split(",")
        raise Problem("invalid_request", f"{first} is given more than once. Send it once.")


def idempotency_key() -> str:
    """Return the request's idempotency key.

    Raises: Problem idempotency_key_missing: when there is none, or it is empty.
    Problem invalid_request: when it is too long or not printable.
    """
    return read_key(request.headers.get(IDEMPOTENCY_KEY))


def optional_idempotency_key() -> str | None:
    """Return the request's idempotency key, or None without the header.

    Raises: as `idempotency_key`; an empty header is an error.
    """
    header = request.headers.get(IDEMPOTENCY_KEY)
    return None if header is None else read_key(header)


def read_key(header: str | None) -> str:
    """Return the key in a header as WSGI hands it over: bytes that look like Latin-1."""
    if not header:
        raise missing_key(IDEMPOTENCY_KEY)
    try:
        key = header.encode("latin-1").decode("utf-8")
    except UnicodeError as error:
        raise Problem("invalid_request", f"{IDEMPOTENCY_KEY} is not valid UTF-8.") from error
    if not is_usable_key(key):
        raise Problem("invalid_request", f"{IDEMPOTENCY_KEY} {KEY_RULE}.")
    return key


def missing_key(where: str) -> Problem:
    """Make the problem of a request without a key. where: the header, or a JSON pointer."""
    return Problem(
        "idempotency_key_missing",
        f"{where} is required: with it, the same request can safely be sent again.",
    )


def wait_seconds(prefer: str | None) -> int:
    """Return how long a Prefer header (RFC 7240) asks us to wait, at most MAX_WAIT_S; else 0.

    As the RFC says, unknown and malformed preferences are ignored, and of two the first counts.
    """
    for preference in _PREFERENCE.findall(prefer or ""):
        if match := _WAIT.fullmatch(preference):
            return min(int(match.group(1) or match.group(2)), MAX_WAIT_S)
    return 0


def require_json_accepted(request: Request) -> None:
    """Raises: Problem not_acceptable: when the client accepts no kind of JSON."""
    accept = request.headers.get("Accept")
    if not accept or accept in ("*/*", JSON):  # what nearly every client sends
        return
    if request.accept_mimetypes.best_match((JSON, PROBLEM_JSON)) is None:
        raise Problem("not_acceptable", f"Answers are {JSON}; the Accept header excludes it.")


def require_json_body(request: Request) -> None:
    """Raises: Problem unsupported_media_type: when Content-Type is not JSON in UTF-8."""
    content_type = request.headers.get("Content-Type", "")
    if content_type == JSON:
        return
    media_type, options = parse_options_header(content_type)
    charset = options.pop("charset", "utf-8")
    if media_type.lower() != JSON or charset.lower() != "utf-8" or options:
        raise Problem("unsupported_media_type", f"Content-Type must be {JSON}, in UTF-8.")


def request_id() -> str:
    """Return the id of the current request, the same one each time."""
    environ = request.environ
    if _CHOSEN not in environ:
        is_repeated = REQUEST_ID in environ.get(_REPEATED, "").split(",")
        environ[_CHOSEN] = choose_request_id(None if is_repeated else environ.get(_OFFERED))
    return str(environ[_CHOSEN])


def choose_request_id(offered: str | None) -> str:
    """Return `offered` if it is 1 to 128 printable ASCII characters, else 128 random bits.

    Nothing else is safe to log and to send back.
    """
    if offered is not None and _HARMLESS.fullmatch(offered):
        return offered
    # Not a secret. Asking the kernel would give way to another thread, for each request.
    return f"{random.getrandbits(128):032x}"


def bind_ids_to_logs(app: Flask) -> None:
    """Put the ids of a request on every line that its thread logs until it is answered."""

    @app.before_request
    def bind() -> None:
        clear_contextvars()  # a thread serves many requests, one after the other
        bind_contextvars(request_id=request_id())
        if transfer_id := (request.view_args or {}).get("transfer_id"):
            bind_contextvars(transfer_id=str(transfer_id))

    @app.teardown_request
    def unbind(_: BaseException | None) -> None:
        clear_contextvars()
