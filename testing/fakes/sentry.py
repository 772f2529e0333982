"""Fake Sentry on loopback: keeps the envelopes it receives, and fails on demand."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from stack.servers.ports import LOOPBACK
from testing.worker_processes import eventually

Json = dict[str, Any]
Behaviour = Literal["well", "limited", "broken", "refusing", "silent"]
"""`limited` answers 429 and asks to wait, `broken` 500; `refusing` hangs up at once, and `silent`
reads and never answers."""

KEY = "0123456789abcdef0123456789abcdef"
PROJECT = "42"


@dataclass(frozen=True)
class Item:
    """One item of an envelope, with the envelope's own header."""

    envelope: Json
    header: Json
    payload: Any

    @property
    def kind(self) -> str:
        return str(self.header["type"])


@dataclass
class Ingest:
    """The envelopes received so far, in order, and how the next requests are answered."""

    port: int
    items: list[Item] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    behaviour: Behaviour = "well"
    requests: int = 0
    _hold: threading.Event = field(default_factory=threading.Event)

    @property
    def dsn(self) -> str:
        return f"http://{KEY}@{LOOPBACK}:{self.port}/{PROJECT}"

    @property
    def everything(self) -> bytes:
        """All bodies, unpacked, to search for what must not be in them."""
        return b"\n".join(self.bodies)

    def of_kind(self, kind: str) -> list[Any]:
        """Return the payloads of all items of a kind: event, transaction, check_in, ..."""
        return [item.payload for item in self.items if item.kind == kind]

    def find(self, kind: str, matches: Callable[[Any], object], *, within_s: float = 20.0) -> Any:
        """Wait for an item that matches. Returns: its payload."""
        found: list[Any] = []

        def look() -> bool:
            found[:] = [each for each in self.of_kind(kind) if matches(each)]
            return bool(found)

        eventually(look, within_s=within_s)
        return found[0]

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """Keep what the Sentry SDK sent."""
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        items = list(_read_envelope(body))
        self.headers.append(headers)
        self.bodies.append(body)
        self.items.extend(items)

    def wait_in_silence(self) -> None:
        """Hold a request until the server ends."""
        self._hold.wait()

    def release(self) -> None:
        """Release all held requests."""
        self._hold.set()


def _read_envelope(body: bytes) -> Iterator[Item]:
    """Read lines of JSON: the envelope's header, then a header and a payload for each item."""
    line, _, rest = body.partition(b"\n")
    envelope = json.loads(line)
    while rest.strip():
        line, _, rest = rest.partition(b"\n")
        header = json.loads(line)
        if "length" in header:
            payload, rest = rest[: header["length"]], rest[header["length"] + 1 :]
        else:
            payload, _, rest = rest.partition(b"\n")
        yield Item(envelope, header, json.loads(payload))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    received: Ingest


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        received = self.server.received
        received.requests += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if received.behaviour == "silent":
            received.wait_in_silence()
        if received.behaviour in ("silent", "refusing"):
            self.close_connection = True
            return
        status = self._status(received.behaviour)
        if status == 200:
            received.take({name.lower(): value for name, value in self.headers.items()}, body)
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "60")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def _status(self, behaviour: Behaviour) -> int:
        if self.path != f"/api/{PROJECT}/envelope/" or KEY not in self.headers["X-Sentry-Auth"]:
            return 403
        return {"limited": 429, "broken": 500}.get(behaviour, 200)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def ingest() -> Iterator[Ingest]:
    """Serve in a thread of this process, on a free port."""
    server = _Server((LOOPBACK, 0), _Handler)
    server.received = Ingest(port=server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.received
    finally:
        server.received.release()
        server.shutdown()
        thread.join()
        server.server_close()
