"""A load balancer before the API that fails at random, before or after it has passed a request on.

It answers what real ones do: pages in HTML, 502, 503 and 504, 429 with Retry-After, and
`overloaded` as the API says it. After some of them the request has been carried out.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from stack.servers.ports import LOOPBACK

PAGE = b"<html><body>Something went wrong</body></html>"
OVERLOADED = b'{"code": "overloaded", "status": 503, "detail": "full", "request_id": "r"}'
Answers = tuple[tuple[int, dict[str, str], bytes], ...]
# One in five is a 429, since each makes all wait for a second.
BEFORE: Answers = (
    (429, {"Retry-After": "1"}, PAGE),
    (503, {"Retry-After": "0", "Content-Type": "application/problem+json"}, OVERLOADED),
    (502, {}, PAGE),
    (502, {}, PAGE),
    (503, {}, PAGE),
)
AFTER: Answers = (
    (502, {}, PAGE),
    (503, {}, PAGE),
    (504, {}, PAGE),
    (500, {}, PAGE),
    (200, {}, PAGE),
)
HOP_BY_HOP = {"connection", "transfer-encoding", "server", "date", "content-length"}


class FailingBalancer(ThreadingHTTPServer):
    """Passes requests on to an API, and fails with the given chances."""

    daemon_threads = True

    def __init__(self, target: int, *, before: float, after: float) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.target = target
        self.before = before
        self.after = after
        self.answers: Counter[int] = Counter()
        self.random = random.Random(20261129)  # noqa: S311

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FailingBalancer

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chance = self.server.random.random()
        if chance < self.server.before:
            self._answer(*self.server.random.choice(BEFORE))
            return
        headers = {k: v.encode("latin-1") for k, v in self.headers.items()}
        url = f"http://{LOOPBACK}:{self.server.target}{self.path}"
        found = requests.request(self.command, url, data=body, headers=headers, timeout=30)
        if chance < self.server.before + self.server.after:
            self._answer(*self.server.random.choice(AFTER))
        else:
            kept = {k: v for k, v in found.headers.items() if k.lower() not in HOP_BY_HOP}
            self._answer(found.status_code, kept, found.content)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.server.answers[status] += 1
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def failing(target: int, *, before: float, after: float) -> Iterator[FailingBalancer]:
    """Run a balancer in threads of its own while the block runs."""
    balancer = FailingBalancer(target, before=before, after=after)
    thread = threading.Thread(target=balancer.serve_forever)
    thread.start()
    try:
        yield balancer
    finally:
        balancer.shutdown()
        thread.join(10)
        balancer.server_close()
