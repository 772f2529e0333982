"""Requests made of what arrives, with gunicorn's parser in Python and the one in C."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from importlib.util import find_spec

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import InvalidChunkSize, LimitRequestLine, ParseException
from gunicorn.http.message import Request

from api.gunicorn_request import (
    ANONYMOUS_BODY_LIMIT,
    MAX_CHUNKS,
    MAX_FIELD_LINE,
    MAX_FIELD_VALUE,
    MAX_REQUEST_LINE,
    HeadersTooLarge,
    RequestReader,
)
from api.http.body import BATCH_BODY_LIMIT, BodyTooLarge
from testing.identity import IDENTITY
from tests.unit.api.test_server_address import CONFIG
from tests.unit.settings.test_settings import URLS

NewReader = Callable[[], RequestReader]
NO_C_PARSER = pytest.mark.skipif(not find_spec("gunicorn_h1c"), reason="no C parser is built")
KEY = b"Authorization: Bearer x\r\n"
HEAD = b"POST /v1/transfers?a=b HTTP/1.1\r\nHost: test\r\nX-Empty:\r\nX-Padded: \t y \t\r\n"


@pytest.fixture(params=["python", pytest.param("fast", marks=NO_C_PARSER)])
def new_reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> NewReader:
    for name, value in (IDENTITY | URLS).items():
        monkeypatch.setenv(name, value)
    ours = runpy.run_path(str(CONFIG))
    config = Config()
    config.set("http_parser", request.param)
    for name in ("limit_request_line", "limit_request_fields", "limit_request_field_size"):
        config.set(name, ours[name])
    return lambda: RequestReader(config, ("127.0.0.1", 1))


@pytest.fixture
def parse(new_reader: NewReader) -> Callable[[bytes], Request]:
    """Return a function that makes one request of bytes that arrive together."""

    def parsed(sent: bytes) -> Request:
        reader = new_reader()
        reader.arrived += sent
        request = reader.take()
        assert request is not None
        return request

    return parsed


Parse = Callable[[bytes], Request]


def body_of(request: Request) -> bytes:
    assert request.body is not None
    return request.body.read()


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 5", b"hello"),
        (b"Transfer-Encoding: chunked", b"2\r\nhe\r\n003 ;x\r\nllo\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX: y\r\n\r\n"),
    ],
)
def test_requests_are_the_same_however_their_bytes_arrive(
    new_reader: NewReader, framing: bytes, body: bytes
) -> None:
    sent = (b"\r\n" + HEAD + framing + b"\r\n\r\n" + body) * 2
    for cut in range(1, len(sent)):
        reader, requests = new_reader(), []
        for piece in (sent[:cut], sent[cut:]):
            reader.arrived += piece
            while request := reader.take():
                requests.append(request)
        assert len(requests) == 2
        for request in requests:
            assert (request.method, request.path, request.query) == ("POST", "/v1/transfers", "a=b")
            assert request.headers[:3] == [("HOST", "test"), ("X-EMPTY", ""), ("X-PADDED", "y")]
            assert body_of(request) == b"hello"
            assert not request.should_close()
        assert not reader.is_begun


def test_what_is_as_large_as_a_limit_is_read(parse: Parse) -> None:
    address = b"/" + b"x" * (MAX_REQUEST_LINE - len("GET / HTTP/1.1"))
    name = b"X" * (MAX_FIELD_LINE - MAX_FIELD_VALUE - 1)
    request = parse(b"GET %b HTTP/1.1\r\n%b:%b\r\n\r\n" % (address, name, b"y" * MAX_FIELD_VALUE))
    assert request.path == address.decode()
    with pytest.raises(LimitRequestLine):
        parse(b"GET %bx HTTP/1.1\r\n\r\n" % address)
    with pytest.raises(HeadersTooLarge, match="X… has more than"):
        parse(b"GET / HTTP/1.1\r\n%bX:%b\r\n\r\n" % (name, b"y" * MAX_FIELD_VALUE))


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
        parse(head)


def test_half_a_head_is_no_request(new_reader: NewReader) -> None:
    reader = new_reader()
    assert not reader.is_begun
    for piece in (b"\r\n", b"POST"):
        reader.arrived += piece
        assert reader.take() is None
        assert reader.is_begun is (piece == b"POST")
    with pytest.raises(ValueError, match="no head"):
        reader.cut()


BROKEN = [
    pytest.param(b"Content-Length: 5\r\n\r\nhell", id="short"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", id="no last chunk"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhell", id="half a chunk"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n", id="a blank"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n", id="a prefix"),
    pytest.param(
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * (MAX_CHUNKS + 1), id="many chunks"
    ),
]


@pytest.mark.parametrize("sent", BROKEN)
def test_a_connection_ends_after_a_body_that_is_not_whole(
    new_reader: NewReader, sent: bytes
) -> None:
    reader = new_reader()
    reader.arrived += HEAD + KEY + sent
    request = reader.take() or reader.cut()
    assert request.should_close()
    if sent.startswith(b"Content-Length"):
        assert body_of(request) == b"hell"
        return
    with pytest.raises(InvalidChunkSize):
        body_of(request)


@pytest.mark.parametrize(
    ("key", "limit"), [(KEY, BATCH_BODY_LIMIT), (b"", ANONYMOUS_BODY_LIMIT)], ids=["key", "no key"]
)
@pytest.mark.parametrize(
    "framing", [b"Content-Length: %d\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n%x\r\n"]
)
def test_a_body_above_the_limit_is_not_waited_for(
    new_reader: NewReader, key: bytes, limit: int, framing: bytes
) -> None:
    allowed, refused = new_reader(), new_reader()
    allowed.arrived += HEAD + key + framing % limit
    assert allowed.take() is None
    refused.arrived += HEAD + key + framing % (limit + 1)
    request = refused.take()
    assert request is not None
    assert request.should_close()
    with pytest.raises(BodyTooLarge):
        body_of(request)


def test_what_is_held_is_counted_until_the_request_was_answered(new_reader: NewReader) -> None:
    reader = new_reader()
    reader.arrived += HEAD + b"Content-Length: 5000\r\n\r\n" + b"x" * 4999
    assert reader.take() is None
    assert reader.held_bytes == 4999
    reader.arrived += b"xy"
    assert reader.take() is not None
    assert reader.held_bytes == 5001
    reader.release()
    assert reader.held_bytes == 1


def test_a_request_without_a_body_leaves_the_connection_open(parse: Parse) -> None:
    assert not parse(HEAD + b"\r\n").should_close()
