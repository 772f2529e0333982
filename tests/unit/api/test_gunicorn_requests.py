"""Requests as gunicorn reads them, with its parser in Python and the one in C."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import LimitRequestLine, NoMoreData, ParseException
from gunicorn.http.unreader import IterUnreader

from api.gunicorn_request import (
    MAX_FIELD_LINE,
    MAX_FIELD_VALUE,
    MAX_REQUEST_LINE,
    BoundedRequest,
    BoundedRequestParser,
    HeadersTooLarge,
)
from testing.identity import IDENTITY
from tests.unit.api.test_server_address import CONFIG
from tests.unit.settings.test_settings import URLS

Parse = Callable[[Iterable[bytes]], BoundedRequest]
NO_C_PARSER = pytest.mark.skipif(not find_spec("gunicorn_h1c"), reason="no C parser is built")
HEAD = b"POST /v1/transfers?a=b HTTP/1.1\r\nHost: test\r\nX-Empty:\r\nX-Padded: \t y \t\r\n"


@pytest.fixture(params=["python", pytest.param("fast", marks=NO_C_PARSER)])
def parse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Parse:
    for name, value in (IDENTITY | URLS).items():
        monkeypatch.setenv(name, value)
    ours = runpy.run_path(str(CONFIG))
    config = Config()
    config.set("http_parser", request.param)
    for name in ("limit_request_line", "limit_request_fields", "limit_request_field_size"):
        config.set(name, ours[name])
    return lambda pieces: BoundedRequest(config, IterUnreader(pieces), ("127.0.0.1", 1))


def body_of(request: BoundedRequest) -> bytes:
    assert request.body is not None
    return request.body.read()


def test_a_request_is_the_same_however_its_bytes_arrive(parse: Parse) -> None:
    sent = b"\r\n" + HEAD + b"Content-Length: 5\r\n\r\nhello"
    for cut in range(1, len(sent)):
        request = parse([sent[:cut], sent[cut:]])
        assert (request.method, request.path, request.query) == ("POST", "/v1/transfers", "a=b")
        assert request.headers == [
            ("HOST", "test"),
            ("X-EMPTY", ""),
            ("X-PADDED", "y"),
            ("CONTENT-LENGTH", "5"),
        ]
        assert body_of(request) == b"hello"


def test_what_is_as_large_as_a_limit_is_read(parse: Parse) -> None:
    address = b"/" + b"x" * (MAX_REQUEST_LINE - len("GET / HTTP/1.1"))
    name = b"X" * (MAX_FIELD_LINE - MAX_FIELD_VALUE - 1)
    request = parse([b"GET %b HTTP/1.1\r\n%b:%b\r\n\r\n" % (address, name, b"y" * MAX_FIELD_VALUE)])
    assert request.path == address.decode()
    with pytest.raises(LimitRequestLine):
        parse([b"GET %bx HTTP/1.1\r\n\r\n" % address])
    with pytest.raises(HeadersTooLarge, match="X… has more than"):
        parse([b"GET / HTTP/1.1\r\n%bX:%b\r\n\r\n" % (name, b"y" * MAX_FIELD_VALUE)])


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\nHost: test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: te\rst\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: \0\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /\tx HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
        b"GET elsewhere:80 HTTP/1.1\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: x-chunked\r\n\r\n",
        b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_both_parsers_refuse_what_is_malformed(parse: Parse, head: bytes) -> None:
    with pytest.raises(ParseException):
        parse([head])


def test_a_connection_that_ends_is_no_error_of_the_server(parse: Parse) -> None:
    with pytest.raises(StopIteration):
        parse([])
    with pytest.raises(NoMoreData):
        parse([HEAD])


@pytest.mark.parametrize(
    ("framing", "pieces"),
    [
        (b"Content-Length: 5", [b"he", b"llo"]),
        (b"Transfer-Encoding: chunked", [b"2\r\nhe\r", b"\n3;x\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n"]),
    ],
)
def test_a_connection_goes_on_only_after_a_whole_body(
    parse: Parse, framing: bytes, pieces: list[bytes]
) -> None:
    start = HEAD + framing + b"\r\n\r\n"
    request = parse([start, *pieces])
    assert request.should_close()
    assert body_of(request) == b"hello"
    assert not request.should_close()

    interrupted = parse(with_a_time_out([start, *pieces]))
    with pytest.raises(OSError):  # noqa: PT011 - a time-out, or the reader's own error
        body_of(interrupted)
    assert interrupted.should_close()


def with_a_time_out(pieces: list[bytes]) -> Iterator[bytes]:
    """Yield all but the last piece; then reading fails, as it does from a socket."""
    yield from pieces[:-1]
    raise TimeoutError


def test_a_request_without_a_body_leaves_the_connection_open(parse: Parse) -> None:
    assert not parse([HEAD + b"\r\n"]).should_close()


def test_a_connection_keeps_no_request_that_was_answered() -> None:
    parser = BoundedRequestParser(Config(), iter([HEAD + b"\r\n", HEAD + b"\r\n"]), ("", 1))
    assert next(parser).method == "POST"
    parser.forget_request()
    assert parser.mesg is None
    assert next(parser).method == "POST"
