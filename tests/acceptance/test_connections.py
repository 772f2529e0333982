"""Connections: what one carries after a broken body, several requests at once, large heads.

Each test runs with both of gunicorn's parsers: the one in C is used where it could be built.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

from api.gunicorn_request import MAX_FIELD_VALUE, MAX_FIELDS
from stack.servers.ports import LOOPBACK
from testing.http_client import Caller, serving

pytestmark = pytest.mark.acceptance

LIVE = b"GET /health/live HTTP/1.1\r\nHost: test\r\n"
SMUGGLED = LIVE + b"X-Request-Id: smuggled\r\n\r\n"
NO_C_PARSER = pytest.mark.skipif(not find_spec("gunicorn_h1c"), reason="no C parser is built")


@pytest.fixture(
    scope="module", params=["python", pytest.param("fast", marks=NO_C_PARSER)], name="port"
)
def port_of_a_server(
    request: pytest.FixtureRequest,
    database_url: str,
    broker_url: str,
    cache_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[int]:
    with serving(
        log=tmp_path_factory.mktemp(request.param) / "gunicorn.log",
        DATABASE_URL=database_url,
        BROKER_URL=broker_url,
        CACHE_URL=cache_url,
        API_PROCESSES="1",
        KEEP_ALIVE_S="3",
        GUNICORN_CMD_ARGS=f"--http-parser={request.param}",
    ) as port:
        yield port


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection((LOOPBACK, port), timeout=30) as connection:
        yield connection


def read_answer(connection: socket.socket) -> tuple[bytes, bytes]:
    """Read one answer. Returns: head, body. Both are empty if the server has closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := connection.recv(1)):
            return data, b""
        data += piece
    length = int(data.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return data, body


def id_of(head: bytes) -> bytes:
    return head.lower().partition(b"x-request-id: ")[2].partition(b"\r\n")[0]


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed, and has sent nothing more before."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def post(*headers: bytes, key: str | None = None) -> bytes:
    """Return the head of a transfer, whose framing is in `headers`."""
    known = [f"Authorization: Bearer {key}".encode()] if key else []
    lines = [b"POST /v1/transfers HTTP/1.1", b"Host: test", b"Content-Type: application/json"]
    return b"\r\n".join([*lines, *known, *headers]) + b"\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        b"SCRIPT_NAME: /health\r\n",
        b"Script_Name: /health\r\n",
        b"Script-Name: /health\r\n",
        b"SCRIPT_NAME: /elsewhere\r\n",
        b"PATH_INFO: /elsewhere\r\n",
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n",
        b"X-Forwarded-Prefix: /health\r\n",
    ],
)
def test_no_header_changes_where_a_request_goes(port: int, headers: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(LIVE + headers + b"\r\n")
        head, _ = read_answer(connection)
    assert head.startswith(b"HTTP/1.1 200 ")


BROKEN_BODIES = [
    pytest.param(b"zz\r\n", id="no size"),
    pytest.param(b"5\r\nhelloXX", id="no end of a chunk"),
    pytest.param(b"5;\r\r\nhello\r\n", id="a bare CR in an extension"),
    pytest.param(b"-1\r\n", id="a negative size"),
    pytest.param(b"0\r\nBad Trailer: x\r\n\r\n", id="a malformed trailer"),
    pytest.param(b"0\r\nContent-Length: 5\r\n\r\n", id="a forbidden trailer"),
    pytest.param(b"0\r\n" + b"X: y\r\n" * 200 + b"\r\n", id="many trailers"),
    pytest.param(b"5;" + b"x" * 20_000, id="a long extension"),
]


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("body", BROKEN_BODIES)
def test_nothing_is_read_after_a_malformed_chunk(
    port: int, client: Caller, body: bytes, is_known: bool
) -> None:
    key = client.api_key if is_known else None
    with connected(port) as connection:
        chunked = post(b"Transfer-Encoding: chunked", b"Idempotency-Key: x", key=key)
        connection.sendall(chunked + body)
        head, answer = read_answer(connection)
        assert json.loads(answer)["code"] == ("invalid_request" if is_known else "unauthenticated")
        assert b"\r\nConnection: close\r\n" in head
        try:
            connection.sendall(SMUGGLED)
        except ConnectionError:
            return
        assert is_closed(connection)


def test_a_broken_body_that_no_view_reads_ends_the_connection_too(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(LIVE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + SMUGGLED)
        head, _ = read_answer(connection)
        assert b"\r\nConnection: close\r\n" in head
        assert is_closed(connection)


def test_what_follows_half_a_body_is_no_request(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(post(b"Content-Length: 2000") + b"{")
        head, _ = read_answer(connection)
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"\r\nConnection: close\r\n" in head


def test_a_whole_body_leaves_the_connection_open(port: int, client: Caller) -> None:
    with connected(port) as connection:
        for framing, body in [
            (b"Content-Length: 2", b"{}"),
            (b"Transfer-Encoding: chunked", b"2;x=y\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n"),
        ]:
            for key in (client.api_key, None):
                connection.sendall(post(framing, key=key) + body)
                head, answer = read_answer(connection)
                assert json.loads(answer)["status"] == (400 if key else 401)
                assert b"\r\nConnection: keep-alive\r\n" in head


def test_requests_sent_together_are_answered_in_their_order(port: int, client: Caller) -> None:
    requests = [
        LIVE + b"X-Request-Id: 0\r\n\r\n",
        post(b"X-Request-Id: 1", b"Content-Length: 2", key=client.api_key) + b"{}",
        post(b"X-Request-Id: 2", b"Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n",
        b"\r\n" + LIVE + b"X-Request-Id: 3\r\n\r\n",  # a blank line before, as old clients send
        b"GET /nothing HTTP/1.1\r\nX-Request-Id: 4\r\n\r\n",
        LIVE + b"X-Request-Id: 5\r\nConnection: close\r\n\r\n",
    ]
    with connected(port) as connection:
        connection.sendall(b"".join(requests) + SMUGGLED)
        heads = [read_answer(connection)[0] for _ in requests]
        assert is_closed(connection)
    assert [id_of(head) for head in heads] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    statuses = [head.split(b" ", 2)[1] for head in heads]
    assert statuses == [b"200", b"400", b"401", b"200", b"404", b"200"]


def test_a_request_of_which_a_part_came_with_the_last_one_is_answered(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(LIVE + b"\r\n" + LIVE)
        assert read_answer(connection)[0].startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"X-Request-Id: second\r\n\r\n")
        assert id_of(read_answer(connection)[0]) == b"second"


def test_a_blank_line_behind_a_body_waits_without_a_thread(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(post(b"Content-Length: 2") + b"{}\r\n")
        read_answer(connection)
        assert is_closed(connection)  # when the idle time is over: a thread would wait for 30 s


def test_heads_up_to_the_limits_are_served(port: int) -> None:
    large = b"X-Large: " + b"x" * MAX_FIELD_VALUE + b"\r\n"
    with connected(port) as connection:
        for headers in (large, b"X-Many: y\r\n" * (MAX_FIELDS - 1), large * (MAX_FIELDS - 1)):
            connection.sendall(LIVE + headers + b"\r\n")
            assert read_answer(connection)[0].startswith(b"HTTP/1.1 200 ")


TOO_LARGE = [
    pytest.param(b"X-Large: " + b"x" * (MAX_FIELD_VALUE + 1) + b"\r\n\r\n", "X-Large", id="value"),
    pytest.param(b"X-Large: " + b"x" * 20_000, "X-Large", id="value without end"),
    pytest.param(b"X-" + b"N" * 9000 + b": y\r\n\r\n", "X-" + "N" * 62 + "…", id="name"),
    pytest.param(b"N" * 20_000, "N" * 64 + "…", id="name without end"),
    pytest.param(b"X-Many: y\r\n" * 99 + b"X-Last: y\r\n\r\n", "X-Last", id="number"),
    pytest.param(b"X-Many: y\r\n" * 9000, "X-Many", id="number without end"),
    pytest.param(b"Bad Name: " + b"x" * 9000 + b"\r\n\r\n", "A header", id="no name"),
]


@pytest.mark.parametrize(("headers", "named"), TOO_LARGE)
def test_a_head_above_the_limits_is_answered_with_the_name_of_the_field(
    port: int, headers: bytes, named: str
) -> None:
    with connected(port) as connection:
        connection.sendall(LIVE + headers)
        head, body = read_answer(connection)
        assert is_closed(connection)
    problem = json.loads(body)
    assert head.startswith(b"HTTP/1.1 431 ")
    assert b"Content-Type: application/problem+json" in head
    assert (problem["status"], problem["code"]) == (431, "headers_too_large")
    assert named + " " in problem["detail"]
    assert problem["request_id"].encode() == id_of(head)


@pytest.mark.parametrize("ending", [b"\n\n", b"\n", b"\r\r\n\r\n"])
def test_a_line_that_ends_otherwise_is_refused_at_once(port: int, ending: bytes) -> None:
    with connected(port) as connection:
        started_s = time.monotonic()
        connection.sendall(b"GET /health/live HTTP/1.1" + ending)
        head, _ = read_answer(connection)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert time.monotonic() - started_s < 5


def test_an_idle_connection_is_kept_as_long_as_the_setting_says(port: int) -> None:
    with connected(port) as connection:
        for pause_s in (0, 2):
            time.sleep(pause_s)
            connection.sendall(LIVE + b"\r\n")
            assert read_answer(connection)[0].startswith(b"HTTP/1.1 200 ")
        started_s = time.monotonic()
        assert is_closed(connection)
        assert 2 < time.monotonic() - started_s < 8
