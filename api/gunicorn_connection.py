"""One connection of the HTTP server: what has arrived on it, and what has not been sent yet.

Guarantees that no call here waits for the client. `api/gunicorn_worker.py` decides when the
connection is read, written and closed.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn

from gunicorn.config import Config
from gunicorn.http.message import Request

from api.gunicorn_request import RequestReader
from api.http.headers import PROBLEM_JSON
from api.http.problems import Problem

PIECE = 64 * 1024
"""How much is read at once, in bytes. Then the others get their turn."""


class Phase(Enum):
    """What a connection waits for. The value says when its socket is ready."""

    NEW = "its first byte"
    IDLE = "the next request"
    ARRIVING = "the rest of a request"
    SERVED = "a thread, which makes the answer"
    UNSENT = "the client, to take the answer"
    ENDING = "the client, to close after the last answer"


@dataclass(eq=False)
class Connection:
    """A connection, in one phase at a time."""

    sock: socket.socket
    reader: RequestReader
    endpoint: Endpoint
    phase: Phase = Phase.NEW
    since_s: float = 0.0
    """When the phase began, on the monotonic clock."""
    deadline_s: float = 0.0
    request: Request | None = None
    """The request that is being answered."""
    is_large: bool = False
    """Whether that request has a large body."""
    is_last: bool = False
    """Whether the connection ends when everything is sent."""
    dropped_bytes: int = 0
    """How much has arrived after the last answer."""
    counted_bytes: int = 0
    """How much of its memory the worker has counted."""
    events: int = 0
    """What the worker's poller looks for on the socket."""

    @property
    def held_bytes(self) -> int:
        """How much memory its request and its answer take."""
        return self.reader.held_bytes + len(self.endpoint.sock.unsent)

    def receive(self) -> bool:
        """Take what has arrived. Returns: whether more may come.

        Raises: OSError: when the connection broke. BlockingIOError: when nothing has arrived.
        """
        piece = self.sock.recv(PIECE)
        if self.phase is Phase.ENDING:
            self.dropped_bytes += len(piece)
        else:
            self.reader.arrived += piece
        return bool(piece)

    def send(self) -> None:
        """Send as much of the answer as the client takes. Raises: OSError: when it is gone."""
        unsent = self.endpoint.sock.unsent
        with suppress(BlockingIOError):  # it takes no more now; the loop sends the rest
            while unsent:
                del unsent[: self.sock.send(unsent)]

    def answer_raw(self, problem: Problem, *, request_id: str) -> None:
        """Replace the answer by a problem, after which the connection ends."""
        self.endpoint.sock.unsent[:] = raw_response(problem, request_id=request_id)
        self.is_last = True
        self.reader.drop()


class Answer:
    """Takes an answer where gunicorn would write to the socket."""

    def __init__(self) -> None:
        """Make an empty one."""
        self.unsent = bytearray()

    def sendall(self, data: bytes) -> None:
        """Append to the answer. It is sent when it is complete."""
        self.unsent += data

    def send(self, data: bytes) -> int:
        """Drop it: only "100 Continue" comes this way, and the body is here already."""
        return len(data)

    def shutdown(self, _how: int) -> NoReturn:
        """Refuse, as a closed socket would. gunicorn calls this when a view fails in an answer."""
        raise OSError

    def close(self) -> None:
        """Do nothing: the worker closes the connection."""


@dataclass(frozen=True)
class Endpoint:
    """What gunicorn knows of a connection while it serves a request."""

    sock: Answer
    client: Any
    server: Any


def accepted(config: Config, sock: socket.socket, client: Any, server: Any) -> Connection:
    """Return a connection that was just accepted."""
    sock.settimeout(0)
    return Connection(sock, RequestReader(config, client), Endpoint(Answer(), client, server))


def raw_response(problem: Problem, *, request_id: str) -> bytes:
    """Return a whole HTTP response that holds the problem and closes the connection."""
    body = json.dumps(problem.as_json(request_id=request_id)).encode()
    headers = {
        "Content-Type": PROBLEM_JSON,
        "Content-Length": str(len(body)),
        "X-Request-Id": request_id,
        "Connection": "close",
        **problem.headers,
    }
    lines = [f"HTTP/1.1 {problem.status} {problem.title}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
