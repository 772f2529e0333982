"""gunicorn's threaded worker and its logger, with the manners they lack.

Guarantees that a client who sends its request slowly gives its thread back in bounded
time, and that what gunicorn refuses by itself (a malformed request line, huge headers) is
answered as a problem like everything else.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from api.negotiation import PROBLEM_JSON
from api.problems import Problem, internal_error
from monitoring.logs import get_logger

log = get_logger(__name__)


class BoundedThreadWorker(ThreadWorker):
    """Serves requests in threads, each for a bounded time."""

    request_limit_s = 30.0
    """How long a request may take, from its first byte to its answer. More than the longest
    wait that a client may prefer, and a body of 4 MiB fits at 150 KiB/s."""

    def init_process(self) -> None:
        """Start, after the fork."""
        self._begun_at_s: dict[TConn, float] = {}
        super().init_process()

    def handle(self, conn: TConn) -> Any:
        """Serve one request of a connection, in a thread."""
        self._begun_at_s[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            del self._begun_at_s[conn]

    def murder_pending(self) -> None:
        """Give up on idle connections, as every second, and on those that send too slowly."""
        super().murder_pending()
        overdue = time.monotonic() - self.request_limit_s
        for conn, begun_at_s in self._begun_at_s.copy().items():
            if begun_at_s < overdue:
                # The blocked read ends as if the client had hung up. The answer to a
                # request that is complete can still be sent.
                with suppress(OSError):  # it may have closed just now
                    conn.sock.shutdown(socket.SHUT_RD)

    def set_accept_enabled(self, enabled: bool | None) -> None:  # noqa: FBT001 - gunicorn's signature
        """Take new connections or not; when it is time to end, also let go of the idle ones.

        gunicorn would wait for those until its graceful timeout, although nothing is
        under way on them.
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
        """Answer what gunicorn could not make sense of, and what broke on the way."""
        malformed = isinstance(exc, ParseException)
        request_id = os.urandom(16).hex()
        # Its message quotes the request, which may hold a key: name the kind alone.
        if malformed:
            log.warning("request_refused", error=type(exc).__name__, request_id=request_id)
        else:
            log.error("connection_failed", exc_info=exc, request_id=request_id)
        problem = _refusal_of(exc) if malformed else internal_error()
        with suppress(OSError):  # the client may not be there to hear it
            util.write_nonblock(client, raw_response(problem, request_id=request_id))


class QuietLogger(Logger):
    """Logs no line per request: what goes wrong is logged where it does, with its request id."""

    def access(self, *_args: Any) -> None:
        """Do nothing, before anything is formatted."""


def raw_response(problem: Problem, *, request_id: str) -> bytes:
    """Return a whole HTTP response that says the problem and closes the connection."""
    body = json.dumps(problem.as_json(request_id=request_id)).encode()
    head = (
        f"HTTP/1.1 {problem.status} {problem.title}\r\n"
        f"Content-Type: {PROBLEM_JSON}\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"X-Request-Id: {request_id}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


def _refusal_of(error: BaseException) -> Problem:
    if isinstance(error, LimitRequestLine | LimitRequestHeaders):
        return Problem("invalid_request", "The address or the headers are too long.")
    return Problem("invalid_request", "This is not an HTTP request that can be understood.")
