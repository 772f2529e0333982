"""HTTP server: broken requests get a problem as answer, and slow clients hold no thread."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stack.servers.ports import LOOPBACK
from testing.http_client import STOP, Caller, serving
from tests.acceptance.conftest import Unchanged, WalletPair

pytestmark = pytest.mark.acceptance

MALFORMED = [
    pytest.param(b"NONSENSE\r\n\r\n", id="not HTTP"),
    pytest.param(b"GET /health HTTP/9.9\r\n\r\n", id="an unknown version"),
    pytest.param(b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", id="a long address"),
    pytest.param(b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n", id="a header with a space"),
    pytest.param(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", id="a negative length"),
    pytest.param(
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        id="two lengths, as smugglers send",
    ),
]


@pytest.mark.parametrize("request_bytes", MALFORMED)
def test_a_malformed_request_is_answered_as_a_problem(
    client: Caller, unchanged: Unchanged, request_bytes: bytes
) -> None:
    with unchanged():
        head, body = client.raw(request_bytes).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Type: application/problem+json" in head
    assert json.loads(body)["code"] == "invalid_request"
    assert json.loads(body)["request_id"].encode() in head


TWICE = [
    pytest.param(b"Idempotency-Key: k\r\nIdempotency-Key: k", id="the same key"),
    pytest.param(b"Idempotency-Key: k\r\nIdempotency-Key: other", id="two keys"),
    pytest.param(b"Idempotency-Key: k\r\nidempotency-KEY: k", id="in other letters"),
    pytest.param(b"Idempotency-Key:\r\nIdempotency-Key: k", id="the first one empty"),
    pytest.param(b"Idempotency-Key: k\r\nX: y\r\nIdempotency-Key: k", id="one between them"),
    pytest.param(b"Authorization: Bearer x", id="the API key"),
    pytest.param(b"X-Request-Id: a\r\nX-Request-Id: a", id="the request id"),
    pytest.param(b"Content-Type: application/json", id="the type of the body"),
    pytest.param(b"Host: test", id="the host"),
]


@pytest.mark.parametrize("headers", TWICE)
def test_a_header_with_one_value_may_not_be_repeated(
    client: Caller, wallet_pair: WalletPair, unchanged: Unchanged, headers: bytes
) -> None:
    with unchanged():
        answer = submit_raw(client, wallet_pair.transfer(), headers)
    name = headers.split(b":")[0].decode()
    assert answer.status_code == 400
    assert answer.problem["code"] == "invalid_request"
    assert name in answer.problem["detail"]
    assert "more than once" in answer.problem["detail"]
    assert answer.problem["request_id"] != "a,a"
    assert answer.problem["request_id"].encode() in answer.head


def test_a_key_with_commas_that_is_sent_once_is_one_key(
    client: Caller, wallet_pair: WalletPair
) -> None:
    key = f"{uuid.uuid4()}, 7".encode()
    first = submit_raw(client, wallet_pair.transfer(), b"Idempotency-Key: " + key)
    spaced = submit_raw(client, wallet_pair.transfer(), b"Idempotency-Key:  " + key + b" \t")
    assert (first.status_code, spaced.status_code) == (202, 202)
    assert b"\r\nIdempotent-Replayed: true" in spaced.head


def test_a_header_that_is_a_list_may_be_repeated(client: Caller, wallet_pair: WalletPair) -> None:
    lists = b"Prefer: respond-async\r\nPrefer: wait=1\r\nAccept: text/html\r\nAccept: */*\r\n"
    key = f"Idempotency-Key: {uuid.uuid4()}".encode()
    answer = submit_raw(client, wallet_pair.transfer(), lists + key)
    assert answer.status_code == 202
    assert b"\r\nPreference-Applied: wait" in answer.head


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 999\r\n\r\n%b",
        b"Transfer-Encoding: chunked\r\n\r\n3e7\r\n%b",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n%b",
    ],
)
def test_half_a_body_changes_nothing(
    client: Caller, wallet_pair: WalletPair, unchanged: Unchanged, framing: bytes
) -> None:
    body = json.dumps(wallet_pair.transfer()).encode()
    with unchanged():
        answer = client.raw(head_of_transfer(client) + framing % body)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"invalid_request"' in answer


def test_an_endless_body_is_refused_without_reading_all_of_it(
    client: Caller, unchanged: Unchanged
) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with unchanged(), connected(client.port) as connection:
        connection.sendall(head_of_transfer(client) + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = send_until_closed(connection, chunk)
    assert sent < 64 * 1024 * 1024


def test_the_server_stops_quickly_despite_an_idle_connection(
    database_url: str, broker_url: str, cache_url: str, tmp_path: Path
) -> None:
    environment = {"DATABASE_URL": database_url, "BROKER_URL": broker_url, "CACHE_URL": cache_url}
    with serving(log=tmp_path / "gunicorn.log", end=STOP, **environment) as port:
        idle = Caller(port)
        assert idle.get("/health/live").headers["Connection"] == "keep-alive"
        begun = time.monotonic()
    assert time.monotonic() - begun < 10


@dataclass(frozen=True)
class RawAnswer:
    """An answer as it came over the wire."""

    head: bytes
    problem: dict[str, Any]

    @property
    def status_code(self) -> int:
        return int(self.head.split()[1])


def submit_raw(client: Caller, body: dict[str, Any], headers: bytes) -> RawAnswer:
    """Submit a transfer with these header lines besides the usual ones."""
    sent = json.dumps(body).encode()
    head = (
        "POST /v1/transfers HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"
        f"Authorization: Bearer {client.api_key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(sent)}\r\n"
    ).encode()
    head, document = client.raw(head + headers + b"\r\n\r\n" + sent).split(b"\r\n\r\n", 1)
    return RawAnswer(head, json.loads(document))


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection((LOOPBACK, port), timeout=30) as connection:
        yield connection


def send_until_closed(connection: socket.socket, chunk: bytes) -> int:
    """Send the chunk repeatedly. Returns: how many bytes the server accepted."""
    sent = 0
    try:
        while sent < 1024 * 1024 * 1024:
            connection.sendall(chunk)
            sent += len(chunk)
    except OSError:
        pass  # the server has had enough
    return sent


def head_of_transfer(client: Caller) -> bytes:
    return (
        "POST /v1/transfers HTTP/1.1\r\nHost: test\r\n"
        f"Authorization: Bearer {client.api_key}\r\n"
        "Idempotency-Key: x\r\nContent-Type: application/json\r\n"
    ).encode()


def test_unknown_clients_with_unfinished_bodies_hold_no_threads(client: Caller) -> None:
    unfinished = (
        b"POST /v1/transfers HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000000\r\n\r\n{"
    )
    with ExitStack() as open_until_the_end:
        for _ in range(60):  # more than the server has threads
            connection = socket.create_connection((LOOPBACK, client.port), timeout=10)
            open_until_the_end.enter_context(connection).sendall(unfinished)
        started_s = time.monotonic()
        assert client.get("/health/live").status_code == 200
        assert time.monotonic() - started_s < 10
