"""Malformed requests: what a client reads about a request that gunicorn cannot parse."""

from __future__ import annotations

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException

from api.gunicorn_request import RequestReader, refusal

ADDRESS = ("127.0.0.1", 1)


@pytest.mark.parametrize("parser", ["auto", "python"])  # auto takes the one in C, where it is
@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        (b"Host: a\r\nHost: a", "Host is not valid, or is given more than once."),
        (
            b"Content-Type: a\r\ncontent-type: a",
            "Content-Type is not valid, or is given more than once.",
        ),
        (
            b"Content-Length: 0\r\nContent-Length: 0",
            "Content-Length is not valid, or is given more than once.",
        ),
        (b"secret", "This is not a valid HTTP request."),
        (b"se cret: x", "This is not a valid HTTP request."),
    ],
)
def test_the_detail_names_a_repeated_header_and_quotes_nothing(
    parser: str, headers: bytes, detail: str
) -> None:
    config = Config()
    config.set("http_parser", parser)
    reader = RequestReader(config, ADDRESS)
    reader.arrived += b"POST / HTTP/1.1\r\n" + headers + b"\r\n\r\n"
    with pytest.raises(ParseException) as refused:
        reader.take()
    assert refusal(refused.value).detail == detail
