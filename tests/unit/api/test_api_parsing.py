"""Request parsing: the pure functions for headers, bodies and times, as tables."""

from __future__ import annotations

import io
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from api.http.body import read_body
from api.http.headers import choose_request_id, read_key, repeated_headers, wait_seconds
from api.http.problems import Problem
from api.http.strict_json import MAX_VALUES, parse_json
from api.http.validation import MAX_ERRORS, check
from api.schemas import fields
from api.schemas.requests import NewBatch
from ledger.postgres import exact_json
from ledger.postgres.exact_json import Number

AT = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("wait=7", 7),
        ("WAIT = 7", 7),
        ('wait="7"', 7),
        ("wait=7; foo=bar", 7),
        ("respond-async, wait=7", 7),
        ('foo="a, wait=9", wait=7', 7),
        ("wait=7, wait=9", 7),
        ("wait=soon, wait=9", 9),
        ("wait=3600", 20),
        ("wait=0", 0),
        ("wait", 0),
        ("wait=", 0),
        ("wait=-5", 0),
        ("wait=5.5", 0),
        ("wait=99999999999999999999", 0),
        ("waiting=5", 0),
        ("foo=bar;wait=5", 0),
        (",,,", 0),
        ('"', 0),
    ],
)
def test_the_preference_to_wait_is_found_wherever_it_is_allowed_to_stand(
    prefer: str | None, seconds: int
) -> None:
    assert wait_seconds(prefer) == seconds


@given(st.text())
def test_any_preference_is_bounded_and_never_fails(prefer: str) -> None:
    assert 0 <= wait_seconds(prefer) <= 20


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("x", "x"),
        ("a b", "a b"),
        ("x" * 255, "x" * 255),
        ("€".encode().decode("latin-1"), "€"),
        (("ü" * 255).encode().decode("latin-1"), "ü" * 255),
    ],
)
def test_a_printable_key_is_read_as_utf_8(header: str, key: str) -> None:
    assert read_key(header) == key


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "idempotency_key_missing"),
        ("", "idempotency_key_missing"),
        ("x" * 256, "invalid_request"),
        ("\xff", "invalid_request"),
        ("a\x00", "invalid_request"),
        ("\x7f", "invalid_request"),
        ("\u200b".encode().decode("latin-1"), "invalid_request"),
    ],
)
def test_another_key_is_refused(header: str | None, code: str) -> None:
    with pytest.raises(Problem) as refused:
        read_key(header)
    assert refused.value.code == code


@pytest.mark.parametrize("key", ["order-7", "order 7", '"order-7"', "k,k", "x" * 255])
def test_a_key_in_a_body_is_kept_as_it_is(key: str) -> None:
    assert fields.check_key(key) == key


@pytest.mark.parametrize("key", ["", " ", " x", "x ", "\tx", "x\u00a0", "x" * 256, 7, None])
def test_another_key_in_a_body_is_refused(key: Any) -> None:
    with pytest.raises(PydanticCustomError, match="no space at either end"):
        fields.check_key(key)


@pytest.mark.parametrize(
    ("names", "repeated"),
    [
        ([], []),
        (["HOST", "IDEMPOTENCY-KEY", "AUTHORIZATION", "X-REQUEST-ID"], []),
        (["IDEMPOTENCY-KEY", "HOST", "IDEMPOTENCY-KEY"], ["Idempotency-Key"]),
        (["X-REQUEST-ID", "AUTHORIZATION"] * 3, ["Authorization", "X-Request-Id"]),
        (["PREFER", "PREFER", "ACCEPT", "ACCEPT", "X-FORWARDED-FOR", "X-FORWARDED-FOR"], []),
    ],
)
def test_repeated_headers_are_found_unless_they_are_lists(
    names: list[str], repeated: list[str]
) -> None:
    assert repeated_headers(names) == repeated


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        ("abc", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        (None, False),
        ("a b", False),
        ("a\n", False),
        ("é", False),
    ],
)
def test_only_a_harmless_request_id_is_kept(offered: str | None, kept: bool) -> None:
    assert (choose_request_id(offered) == offered) is kept


@given(st.binary())
def test_any_body_is_parsed_or_answered_with_a_problem(body: bytes) -> None:
    try:
        parse_json(body)
    except Problem as problem:
        assert problem.code == "invalid_request"  # noqa: PT017 - either outcome is right


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", max_size=3), inner),
    )
)
def test_valid_strict_json_is_understood(document: Any) -> None:
    import json

    if "\\u0000" not in json.dumps(document):
        assert parse_json(json.dumps(document).encode()) == document


@pytest.mark.parametrize("text", ["1.10", "0.1", "-0.50", "1e2", "1.5E-7", "0.0", "0e5"])
def test_a_number_keeps_its_digits(text: str) -> None:
    document = parse_json(b'{"a":[%b]}' % text.encode())
    assert fields.check_metadata(document) == {"a": [Number(text)]}
    assert exact_json.dumps(document) == f'{{"a":[{text}]}}'


@pytest.mark.parametrize(
    "text",
    ["1e16", "1e-16", "-1e300", "1e400", "1e-400", "0e-500", "0e-99999999999", "1e99999999999"],
)
def test_a_number_that_takes_many_digits_is_refused(text: str) -> None:
    with pytest.raises(Problem):
        fields_of(parse_json(b'{"a":[%b]}' % text.encode()))


@pytest.mark.parametrize("depth", [500, 5_000, 500_000])
def test_deep_nesting_is_a_problem_and_never_a_crash(depth: int) -> None:
    with pytest.raises(Problem):
        fields_of(parse_json(b'{"a":' * depth + b"1" + b"}" * depth))


def fields_of(document: Any) -> Any:
    try:
        return fields.check_metadata(document)
    except PydanticCustomError as error:
        raise Problem("invalid_request", str(error)) from error


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31t12:00:00z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.123456Z", AT),
        ("2026-01-31T12:00:00.123456789Z", AT),
        ("2026-01-31T14:30:00+02:30", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_with_its_offset(text: str, parsed: datetime) -> None:
    assert fields.parse_time(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:00:60Z",
        "0001-01-01T00:00:00+14:00",
        "1769860800",
        "2026-01-31T12:00:00 02:00",
        None,
        7,
    ],
)
def test_another_time_is_refused(text: Any) -> None:
    with pytest.raises(PydanticCustomError):
        fields.parse_time(text)


def test_a_body_is_read_up_to_its_limit() -> None:
    assert read_body(environ(b"12345", declared="5"), limit=5) == b"12345"
    assert read_body(environ(b"12345"), limit=5) == b"12345"
    assert read_body(environ(b""), limit=5) == b""


@pytest.mark.parametrize(
    ("body", "declared", "code"),
    [
        (b"123456", "6", "too_large"),
        (b"123456", None, "too_large"),
        (b"123", "5", "invalid_request"),
        (b"123", "three", "invalid_request"),
        (b"123", "-3", "invalid_request"),
        (b"123", "9" * 5000, "invalid_request"),
    ],
)
def test_another_body_is_refused(body: bytes, declared: str | None, code: str) -> None:
    with pytest.raises(Problem) as refused:
        read_body(environ(body, declared=declared), limit=5)
    assert refused.value.code == code


def test_an_oversized_body_is_not_even_read() -> None:
    given_environ = environ(b"123456", declared="6")
    with pytest.raises(Problem):
        read_body(given_environ, limit=5)
    assert given_environ["wsgi.input"].tell() == 0


HALF = MAX_VALUES // 2
COSTLY = [
    pytest.param(b"[" + b",".join([b"{}"] * HALF) + b"]", id="empty objects"),
    pytest.param(b"[" + b",".join([b'{"a":[]}'] * (HALF - HALF // 3)) + b"]", id="objects"),
    pytest.param(b"{" + b",".join(b'"%x":0' % i for i in range(MAX_VALUES)) + b"}", id="members"),
    pytest.param(b"[" + b",".join([b"1e5"] * (MAX_VALUES - 1)) + b"]", id="numbers"),
    pytest.param(b'["' + b"x" * 4_000_000 + "\U0001f600".encode() + b'"]', id="wide text"),
    pytest.param(b"{" + b",".join(b'"%x":0' % i for i in range(420_000)) + b"}", id="4 MiB"),
]


@pytest.mark.parametrize("body", COSTLY)
def test_a_body_costs_a_small_multiple_of_its_bytes(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Problem) as refused:
            check(NewBatch, parse_json(body))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(refused.value.errors) <= MAX_ERRORS
    assert peak < 60 * len(body)
    assert peak < 50 * 1024 * 1024


@pytest.mark.parametrize("value", [b"0,", b"[],", b"{},"])
def test_a_body_with_too_many_values_is_not_parsed(value: bytes) -> None:
    with pytest.raises(Problem, match="more than 250000 commas and brackets"):
        parse_json(b"[" + value * MAX_VALUES)


def test_of_many_unknown_fields_the_first_are_named() -> None:
    with pytest.raises(Problem) as refused:
        check(NewBatch, {"transfers": []} | {f"/{i}": 0 for i in range(1000)}, prefix="/x")
    assert refused.value.errors == [(f"/x/~1{i}", "is unknown") for i in range(MAX_ERRORS)]


def environ(body: bytes, *, declared: str | None = None) -> dict[str, Any]:
    length = {} if declared is None else {"CONTENT_LENGTH": declared}
    return {"wsgi.input": io.BytesIO(body), **length}
