"""gunicorn's threaded worker and logger, with bounded request times and errors as problems.

Guarantees that a client which sends its request slowly holds a thread for a bounded time only,
that requests sent together are answered in their order, that a request which gunicorn itself
refuses (a malformed request line, huge headers) is answered as a problem, like every other
error, and that the application learns which headers were repeated.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http import Request
from gunicorn.http.errors import InvalidHeader, LimitRequestLine, ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from api.gunicorn_request import BoundedRequestParser, HeadersTooLarge
from api.http.headers import PROBLEM_JSON, REPEATED, repeated_headers
from api.http.problems import Problem, internal_error
from monitoring.logs import get_logger

log = get_logger(__name__)

# The whole text of the error: as the parser in Python and the one in C write it.
_READ_BY_GUNICORN = re.compile(
    r"(?:Duplicate )?(Host|Content-Type|Content-Length)(?: header)?", re.IGNORECASE
)


class BoundedThreadWorker(ThreadWorker):
    """Serves requests in threads, each for a bounded time."""

    request_limit_s = 30.0
    """How long a request may take, from its first byte to its answer. This is more than the
    longest wait that a client may prefer, and enough for a body of 4 MiB at 150 KiB/s."""
    silence_limit_s = 15.0
    """How long a new connection may send nothing. One that had an answer may wait longer."""

    def init_process(self) -> None:
        """Prepare the process, after the fork."""
        self._begun_at_s: dict[TConn, float] = {}
        super().init_process()

    def handle(self, conn: TConn) -> Any:
        """Serve one request of a connection, in a thread."""
        self._begun_at_s[conn] = time.monotonic()
        if conn.parser is None:
            conn.parser = BoundedRequestParser(self.cfg, conn.sock, conn.client)
        try:
            return super().handle(conn)
        finally:
            del self._begun_at_s[conn]

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """Serve a request that has been parsed, and name the headers that it repeats.

        gunicorn joins repeated headers with commas. A key may contain commas, so the
        application could not tell two keys from one.
        """
        if names := repeated_headers([name for name, _ in req.headers]):
            req.headers.append((REPEATED, ",".join(names)))
        return super().handle_request(req, conn)

    def finish_request(self, conn: TConn, fs: Future[bool]) -> None:
        """Go on with a connection whose request was answered: serve the next one, wait, or close.

        gunicorn would wait for more bytes although the next request has been read already. It
        queues behind the requests of others, so no connection holds a thread for itself.
        """
        is_kept = not fs.cancelled() and fs.exception() is None and fs.result() is True
        if is_kept and isinstance(conn.parser, BoundedRequestParser):
            conn.parser.forget_request()
            if conn.parser.is_next_here():
                self.enqueue_req(conn)
                return
        super().finish_request(conn, fs)
        if self.pending_conns and self.pending_conns[-1] is conn:
            conn.timeout = time.monotonic() + self.silence_limit_s

    def murder_pending(self) -> None:
        """Close idle connections, and stop reading from those that send too slowly.

        gunicorn calls this every second.
        """
        super().murder_pending()
        overdue = time.monotonic() - self.request_limit_s
        for conn, begun_at_s in self._begun_at_s.copy().items():
            if begun_at_s < overdue:
                # The blocked read ends as if the client had hung up. The answer to a
                # request that is complete can still be sent.
                with suppress(OSError):  # it may have closed just now
                    conn.sock.shutdown(socket.SHUT_RD)

    def set_accept_enabled(self, enabled: bool | None) -> None:  # noqa: FBT001 - gunicorn's signature
        """Accept new connections or not; when the process is to end, also close the idle ones.

        gunicorn would wait for those until its graceful timeout, although no request is under
        way on them.
        """
        super().set_accept_enabled(enabled)
        if not self.alive:
            for conn in (*self.keepalived_conns, *self.pending_conns):
                conn.timeout = 0
            self.murder_keepalived()
            self.murder_pending()

    def handle_error(
        self,
        req: Any,  # noqa: ARG002 - the signature is gunicorn's
        client: socket.socket,
        addr: Any,  # noqa: ARG002
        exc: BaseException,
    ) -> None:
        """Answer a request that gunicorn could not parse, or that failed outside of Flask."""
        request_id = os.urandom(16).hex()
        if isinstance(exc, ParseException):
            # The error's text quotes the request, which may hold a key: log only its type.
            log.warning("request_refused", error=type(exc).__name__, request_id=request_id)
            if isinstance(exc, HeadersTooLarge):
                problem = Problem("headers_too_large", exc.detail)
            else:
                problem = Problem("invalid_request", describe(exc))
        else:
            log.error("connection_failed", exc_info=exc, request_id=request_id)
            problem = internal_error()
        with suppress(OSError):  # the client may have gone
            util.write_nonblock(client, raw_response(problem, request_id=request_id))


def describe(error: ParseException) -> str:
    """Say what is wrong with a request that gunicorn refused, without quoting it."""
    if isinstance(error, LimitRequestLine):
        return "The address is too long."
    if isinstance(error, InvalidHeader) and (found := _READ_BY_GUNICORN.fullmatch(error.hdr)):
        return f"{found[1].title()} is not valid, or is given more than once."
    return "This is not a valid HTTP request."


class QuietLogger(Logger):
    """Logs no line per request. Errors are logged where they happen, with the request id."""

    def access(self, *_args: Any) -> None:
        """Do nothing; not even format the line."""


def raw_response(problem: Problem, *, request_id: str) -> bytes:
    """Return a whole HTTP response that holds the problem and closes the connection."""
    body = json.dumps(problem.as_json(request_id=request_id)).encode()
    head = (
        f"HTTP/1.1 {problem.status} {problem.title}\r\n"
        f"Content-Type: {PROBLEM_JSON}\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"X-Request-Id: {request_id}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
