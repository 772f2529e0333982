"""Reading bodies: never more than the limit, and never half of one.

Guarantees that an endless or oversized body costs at most its limit in memory. How long
a body may take is the server's concern (`api/gunicorn_worker.py`).
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from api.http.problems import Problem

BODY_LIMIT = 1024 * 1024
BATCH_BODY_LIMIT = 4 * 1024 * 1024
DISCARD_LIMIT = 16 * 1024 * 1024
_PIECE = 64 * 1024


def read_body(environ: dict[str, Any], *, limit: int) -> bytes:
    """Read the whole body of a request.

    limit: how many bytes it may have at most.
    Raises: Problem too_large: when it has more, by its own word or in fact.
    Problem invalid_request: when it ends before its end.
    """
    declared = _declared_length(environ)
    if declared is not None and declared > limit:
        raise _too_large(limit)
    try:
        # One byte more than is allowed tells an oversized chunked body from a full one.
        body: bytes = environ["wsgi.input"].read(limit + 1 if declared is None else declared)
    except OSError as error:  # broken chunks, or a connection that ended in their midst
        raise Problem("invalid_request", "The body could not be read to its end.") from error
    if len(body) > limit:
        raise _too_large(limit)
    if declared is not None and len(body) < declared:
        raise Problem("invalid_request", "The body is shorter than its Content-Length.")
    return body


def discard_rest(environ: dict[str, Any], *, within_s: float) -> None:
    """Read on and forget, so that a refused client hears the refusal.

    A connection that is closed while its client still sends is reset, and the answer on
    its way is lost with it. But this thread is needed for others: after `within_s`, or
    DISCARD_LIMIT bytes, nothing more is read from this client, ever.
    """
    left, deadline = DISCARD_LIMIT, time.monotonic() + within_s
    connection: socket.socket | None = environ.get("gunicorn.socket")
    with suppress(OSError):  # too late, or the client has gone: nobody is left to hear anything
        while left > 0 and (patience_s := deadline - time.monotonic()) > 0:
            if connection is not None:
                connection.settimeout(patience_s)
            piece = environ["wsgi.input"].read(min(left, _PIECE))
            if not piece:
                _wait_again(connection)
                return
            left -= len(piece)
    _read_no_more(connection)


def _wait_again(connection: socket.socket | None) -> None:
    if connection is not None:
        connection.settimeout(None)


def _read_no_more(connection: socket.socket | None) -> None:
    """Let the server see the end of what this client sends; the answer still goes out."""
    _wait_again(connection)
    if connection is not None:
        with suppress(OSError):  # it is closed already
            connection.shutdown(socket.SHUT_RD)


def _declared_length(environ: dict[str, Any]) -> int | None:
    text = environ.get("CONTENT_LENGTH") or ""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Problem("invalid_request", "Content-Length is not a number.")
    return int(text)


def _too_large(limit: int) -> Problem:
    return Problem("too_large", f"The body may have at most {limit} bytes.")
