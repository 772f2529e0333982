"""Request bodies: reads one whole, up to a limit, or drops the rest of it.

Guarantees that an endless or oversized body costs at most its limit in memory, and that half
a body is never taken for a whole one. `api/gunicorn_worker.py` bounds how long a body may take.
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
    Raises: Problem too_large: when Content-Length, or the body itself, exceeds the limit.
    Problem invalid_request: when the body ends early, or Content-Length is no number.
    """
    declared = _declared_length(environ)
    if declared is not None and declared > limit:
        raise _too_large(limit)
    try:
        # One byte more than is allowed tells an oversized chunked body from a full one.
        body: bytes = environ["wsgi.input"].read(limit + 1 if declared is None else declared)
    except OSError as error:  # broken chunks, or a connection that ended between them
        raise Problem("invalid_request", "The body could not be read to its end.") from error
    if len(body) > limit:
        raise _too_large(limit)
    if declared is not None and len(body) < declared:
        raise Problem("invalid_request", "The body is shorter than its Content-Length.")
    return body


def discard_rest(environ: dict[str, Any], *, within_s: float) -> None:
    """Read the rest of a body and drop it, so that a refused client gets the answer.

    A connection that is closed while its client still sends is reset, and the answer on its
    way is lost. But other clients need this thread: after `within_s`, or DISCARD_LIMIT bytes,
    nothing more is read from this connection. The server closes it after the answer, because
    what is left of the body would be read as the next request.
    """
    if not environ.get("CONTENT_LENGTH") and "HTTP_TRANSFER_ENCODING" not in environ:
        return
    left, deadline_s = DISCARD_LIMIT, time.monotonic() + within_s
    connection: socket.socket | None = environ.get("gunicorn.socket")
    is_whole = False
    with suppress(OSError):  # the time is over, or the client has gone
        while left > 0 and (timeout_s := deadline_s - time.monotonic()) > 0:
            if connection is not None:
                connection.settimeout(timeout_s)
            piece = environ["wsgi.input"].read(min(left, _PIECE))
            if not piece:
                is_whole = True
                break
            left -= len(piece)
    if connection is None:
        return
    connection.settimeout(None)
    if not is_whole:
        # The server sees an end of what this client sends; the answer still goes out.
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
