"""Slow connections: hundreds that send or read nothing delay nobody, and are ended."""

from __future__ import annotations

import json
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from stack.servers.ports import LOOPBACK
from testing.http_client import Caller, serving
from tests.acceptance.conftest import WalletPair

pytestmark = pytest.mark.acceptance

SLOW = 500
ASKED = 10
LIVE = b"GET /health/live HTTP/1.1\r\nHost: test\r\n"
POST = b"POST /v1/transfers HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
WITH_A_KEY = POST + b"Authorization: Bearer %b\r\n"
LARGE_ANSWER = b"GET /openapi.json HTTP/1.1\r\nHost: test\r\n\r\n"

Connect = Callable[..., list[socket.socket]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that opens connections, which stay open until the test ends."""
    with ExitStack() as opened:

        def connections(port: int, number: int, sent: bytes = b"") -> list[socket.socket]:
            made = []
            for _ in range(number):
                connection = opened.enter_context(socket.socket())
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.settimeout(30)
                connection.connect((LOOPBACK, port))
                connection.sendall(sent)
                made.append(connection)
            return made

        yield connections


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(LIVE, id="half a head"),
        pytest.param(b"\r\n", id="a blank line"),
        pytest.param(WITH_A_KEY + b"Content-Length: 1000000\r\n\r\n", id="no body"),
        pytest.param(WITH_A_KEY + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", id="half a chunk"),
        pytest.param(POST + b"Content-Length: 2\r\n\r\n{", id="half a body, without a key"),
        pytest.param(WITH_A_KEY + b"Content-Length: 9000000\r\n\r\n", id="too large a body"),
        pytest.param(LARGE_ANSWER * 2, id="answers that nobody reads"),
        pytest.param(LIVE + b"Connection: close\r\n\r\n", id="never closed by the client"),
    ],
)
def test_slow_connections_delay_nobody(
    client: Caller, wallet_pair: WalletPair, connect: Connect, sent: bytes
) -> None:
    connect(client.port, SLOW, with_key(sent, client))
    ask(client, wallet_pair)  # until the answers that nobody reads have been made
    taken_s = [ask(client, wallet_pair) for _ in range(ASKED)]
    assert statistics.median(taken_s) < 1


def with_key(sent: bytes, client: Caller) -> bytes:
    return sent.replace(b"%b", str(client.api_key).encode())


def ask(client: Caller, wallets: WalletPair) -> float:
    """Ask for the health and send a transfer, on a new connection. Returns: the time it took."""
    caller = Caller(client.port, client.api_key)
    started_s = time.monotonic()
    assert caller.get("/health/live").status_code == 200
    answer = caller.submit(wallets.transfer("0.01"))
    assert (answer.status_code, answer.json()["state"]) == (202, "accepted")
    return time.monotonic() - started_s


@pytest.fixture(scope="module")
def small_port(
    database_url: str, broker_url: str, cache_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """Start a server with one thread and small limits. Yields: its port."""
    with serving(
        log=tmp_path_factory.mktemp("small") / "gunicorn.log",
        config="tests/acceptance/http/short_timeouts.conf.py",
        DATABASE_URL=database_url,
        BROKER_URL=broker_url,
        CACHE_URL=cache_url,
    ) as port:
        yield port


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        pytest.param(LIVE + b"X", b"", id="a head"),
        pytest.param(WITH_A_KEY + b"Content-Length: 10000\r\n\r\n", b"HTTP/1.1 400 ", id="a body"),
        pytest.param(
            WITH_A_KEY + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n",
            b"HTTP/1.1 400 ",
            id="a chunk",
        ),
        pytest.param(POST + b"Content-Length: 10000\r\n\r\n", b"HTTP/1.1 401 ", id="without a key"),
    ],
)
def test_what_is_sent_slowly_is_cut_and_held_no_thread(
    small_port: int, client: Caller, connect: Connect, sent: bytes, answer: bytes
) -> None:
    [slow] = connect(small_port, 1, with_key(sent, client))
    started_s = time.monotonic()
    while time.monotonic() < started_s + 1:
        slow.sendall(b"x")
        time.sleep(0.1)
    assert Caller(small_port).get("/health/live").status_code == 200  # the one thread is free
    assert read_to_end(slow).startswith(answer)
    assert 1.5 < time.monotonic() - started_s < 8


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


def test_a_connection_whose_answers_are_not_read_is_closed(
    small_port: int, connect: Connect
) -> None:
    requests = 200
    [slow] = connect(small_port, 1, LARGE_ANSWER * requests)
    time.sleep(5)
    assert 0 < read_to_end(slow).count(b"HTTP/1.1 200 OK") < requests


def test_where_there_is_no_room_the_quietest_connection_is_closed(
    small_port: int, connect: Connect
) -> None:
    oldest, *_, newest = connect(small_port, 40)
    assert read_to_end(oldest) == b""
    newest.sendall(LIVE + b"\r\n")
    assert newest.recv(12) == b"HTTP/1.1 200"


def test_above_the_limit_of_memory_the_slowest_body_is_refused(
    small_port: int, client: Caller, connect: Connect
) -> None:
    head = with_key(WITH_A_KEY, client) + b"Content-Length: 1000000\r\n\r\n"
    slow = []
    for _ in range(4):
        slow += connect(small_port, 1, head + b" " * 999_999)
        time.sleep(0.1)  # so that it is known which came first
    oldest, *_, newest = slow
    head, body = read_to_end(oldest).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 5" in head
    assert json.loads(body)["code"] == "overloaded"
    newest.sendall(b"x")
    assert newest.recv(12) == b"HTTP/1.1 400"  # it was read: blanks are not JSON


def test_a_client_that_asks_first_is_told_to_send_its_body(
    small_port: int, client: Caller, connect: Connect
) -> None:
    head = with_key(WITH_A_KEY, client) + b"Idempotency-Key: x\r\nExpect: 100-continue\r\n"
    wanted, too_large = (
        connect(small_port, 1, head + b"Content-Length: %d\r\n\r\n" % length)[0]
        for length in (2, 9_000_000)
    )
    assert wanted.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    wanted.sendall(b"{}")
    wanted.shutdown(socket.SHUT_WR)
    assert read_to_end(wanted).startswith(b"HTTP/1.1 400 ")
    assert read_to_end(too_large).startswith(b"HTTP/1.1 413 ")


def test_a_database_url_that_cannot_be_read_is_one_line_at_the_start(
    broker_url: str, cache_url: str, tmp_path: Path
) -> None:
    with (
        pytest.raises(AssertionError, match=r"\napi: The options in DATABASE_URL [^\n]*\n$"),
        serving(
            log=tmp_path / "gunicorn.log",
            DATABASE_URL="postgresql://nobody@127.0.0.1:1/none?options=--%20x",
            BROKER_URL=broker_url,
            CACHE_URL=cache_url,
        ),
    ):
        pass


@pytest.mark.parametrize(
    "options",
    ["--certfile=x.pem", "--proxy-protocol=auto", "--http2-cleartext=upgrade", "-k gthread"],
)
def test_options_that_would_not_work_are_refused_at_the_start(
    database_url: str, broker_url: str, cache_url: str, tmp_path: Path, options: str
) -> None:
    with (
        pytest.raises(AssertionError, match=r"The API cannot start: gunicorn's [^\n]*\n$"),
        serving(
            log=tmp_path / "gunicorn.log",
            DATABASE_URL=database_url,
            BROKER_URL=broker_url,
            CACHE_URL=cache_url,
            GUNICORN_CMD_ARGS=options,
        ),
    ):
        pass


@pytest.fixture(params=[64, 128, 256])
def few_files_port(
    request: pytest.FixtureRequest,
    database_url: str,
    broker_url: str,
    cache_url: str,
    tmp_path: Path,
) -> Iterator[int]:
    """Start a server that may have few files open. Yields: its port."""
    with serving(
        log=tmp_path / "gunicorn.log",
        config="tests/acceptance/http/few_files.conf.py",
        ALLOWED_FILES=str(request.param),
        DATABASE_URL=database_url,
        BROKER_URL=broker_url,
        CACHE_URL=cache_url,
    ) as port:
        yield port


def test_where_few_files_may_be_open_silent_connections_delay_nobody_and_are_closed(
    few_files_port: int, client: Caller, wallet_pair: WalletPair, connect: Connect
) -> None:
    few = Caller(few_files_port, client.api_key)
    silent = connect(few_files_port, SLOW)
    taken_s = [ask(few, wallet_pair) for _ in range(ASKED)]
    assert max(taken_s) < 1
    began_s = time.monotonic()
    assert [read_to_end(connection) for connection in silent] == [b""] * SLOW
    assert time.monotonic() - began_s < 20  # also those that no other one has pushed out
    assert ask(few, wallet_pair) < 1
