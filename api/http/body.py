"""Request bodies: reads one whole, up to a limit.

Guarantees that half a body is never taken for a whole one. A body has arrived before a view
asks for it: `api/gunicorn_worker.py` bounds how long it may take, and how much memory.
"""

from __future__ import annotations

from typing import Any

from api.http.problems import Problem

BODY_LIMIT = 1024 * 1024
BATCH_BODY_LIMIT = 4 * 1024 * 1024


class BodyTooLarge(OSError):
    """The server has read no more of a body, because no view takes one as large."""


def read_body(environ: dict[str, Any], *, limit: int) -> bytes:
    """Read the whole body of a request.

    limit: how many bytes it may have at most.
    Raises: Problem too_large: when Content-Length, or the body itself, exceeds the limit.
    Problem invalid_request: when the body ends early, or Content-Length is no number.
    """
    declared = _declared_length(environ)
    if declared is not None and declared > limit:
        raise _too_large(limit)
    try:
        # One byte more than is allowed tells an oversized chunked body from a full one.
        body: bytes = environ["wsgi.input"].read(limit + 1 if declared is None else declared)
    except BodyTooLarge as error:
        raise _too_large(limit) from error
    except OSError as error:  # broken chunks, or a connection that ended between them
        raise Problem("invalid_request", "The body could not be read to its end.") from error
    if len(body) > limit:
        raise _too_large(limit)
    if declared is not None and len(body) < declared:
        raise Problem("invalid_request", "The body is shorter than its Content-Length.")
    return body


def _declared_length(environ: dict[str, Any]) -> int | None:
    text = environ.get("CONTENT_LENGTH") or ""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Problem("invalid_request", "Content-Length is not a number.")
    return int(text)


def _too_large(limit: int) -> Problem:
    return Problem("too_large", f"The body may have at most {limit} bytes.")
