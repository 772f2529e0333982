"""Buffer entries: a request survives writing and reading, and invalid entries are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.acceptance import TransferRequest, fingerprint
from ledger.buffer.entries import (
    MAX_ENTRY_BYTES,
    Buffered,
    decode,
    decode_unverified,
    encode,
    is_unsigned,
)
from ledger.buffer.seal import Seal
from ledger.clients import Client
from ledger.errors import NewerFormat, NotAuthentic, Unreadable
from ledger.ids import transfer_id
from ledger.postgres.exact_json import Number

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_NUMBERS = [Number(text) for text in ("1.10", "-0.0", "1e2", "0.1000000000000000000001")]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT | st.sampled_from(_NUMBERS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def buffered(draw: st.DrawFn) -> Buffered:
    scope = draw(st.sampled_from(["client", "admin"]))
    client = Client(draw(st.uuids()), draw(_TEXT), scope, draw(st.none() | _TEXT))  # type: ignore[arg-type]
    request = TransferRequest(
        client=client,
        idempotency_key=draw(_TEXT),
        source_id=draw(st.uuids()),
        destination_id=draw(st.uuids()),
        asset="ETH",
        scale=18,
        amount_minor=draw(st.integers(1, 10**38 - 1)),
        reference=draw(st.none() | _TEXT),
        metadata=draw(st.none() | st.dictionaries(_TEXT, _JSON, max_size=3)),
    )
    return Buffered(request, draw(st.datetimes(timezones=st.just(UTC))))


def seal_with(*secrets: str, installation_id: str = "test", purpose: str = "entry") -> Seal:
    return Seal(secrets, installation_id=installation_id, purpose=purpose)


SEAL = seal_with("new", "old")


@given(buffered())
def test_a_written_entry_is_read_back_complete_and_its_client_without_any_right(
    kept: Buffered,
) -> None:
    read = decode(encode(kept, SEAL), SEAL)
    assert read.request.client == Client(kept.request.client.id, "", "client", None)
    assert replace(read, request=replace(read.request, client=kept.request.client)) == kept


@given(buffered(), st.data())
def test_an_entry_that_is_changed_anywhere_is_not_authentic(
    kept: Buffered, data: st.DataObject
) -> None:
    content = encode(kept, SEAL)
    position = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[position]))
    with pytest.raises(NotAuthentic):
        decode(content[:position] + bytes([byte]) + content[position + 1 :], SEAL)


@pytest.mark.parametrize(
    "seal",
    [
        seal_with("other"),
        seal_with("new", installation_id="other"),
        seal_with("new", purpose="receipt"),
    ],
    ids=["secret", "installation", "purpose"],
)
def test_an_entry_of_another_secret_installation_or_purpose_is_not_authentic(seal: Seal) -> None:
    with pytest.raises(NotAuthentic):
        decode(encode(Buffered(a_request(), datetime.now(UTC)), seal), SEAL)


def test_the_first_secret_marks_and_all_are_accepted() -> None:
    kept = Buffered(a_request(), datetime.now(UTC))
    assert decode(encode(kept, seal_with("old")), SEAL).id == kept.id
    assert encode(kept, SEAL) == encode(kept, seal_with("new"))
    with pytest.raises(NotAuthentic):
        decode(encode(kept, SEAL), seal_with("old"))


def a_request(**changes: Any) -> TransferRequest:
    fields: dict[str, Any] = {
        "client": Client(UUID(int=1), "alice", "client", None),
        "idempotency_key": "key",
        "source_id": UUID(int=2),
        "destination_id": UUID(int=3),
        "asset": "USD",
        "scale": 2,
        "amount_minor": 100,
    }
    return TransferRequest(**fields | changes)


def test_its_id_is_that_of_the_later_transfer() -> None:
    kept = Buffered(a_request(), datetime.now(UTC))
    assert kept.id == transfer_id(UUID(int=1), "key")


@pytest.mark.parametrize(
    ("changes", "is_repeat"),
    [
        ({}, True),
        ({"metadata": {}}, True),
        ({"amount_minor": 101}, False),
        ({"reference": "rent"}, False),
        ({"destination_id": uuid4()}, False),
    ],
)
def test_a_repeat_is_the_same_request(changes: dict[str, Any], *, is_repeat: bool) -> None:
    kept = Buffered(a_request(), datetime.now(UTC))
    assert kept.is_repeated_by(a_request(**changes)) is is_repeat


def marked(format_number: int, rest: bytes) -> bytes:
    """Return an entry with a genuine mark."""
    mark = SEAL.mark(b"%d\0%b" % (format_number, rest))
    return f'{{"format":{format_number},"mark":"{mark}",'.encode() + rest


def test_only_a_genuine_entry_of_a_newer_version_is_left_for_that_version() -> None:
    with pytest.raises(NewerFormat):
        decode(marked(3, b'"what":"ever"}'), SEAL)
    with pytest.raises(NotAuthentic):
        decode(marked(3, b'"what":"ever"}').replace(b"ever", b"else"), SEAL)
    with pytest.raises(NotAuthentic):
        decode(json.dumps({"format": 3}).encode(), SEAL)


@pytest.mark.parametrize(
    "content",
    [
        marked(2, b"}"),
        marked(2, b'"installation":"other"}'),
        marked(2, b'"installation":"test"}'),
        marked(2, b"[" * 20_000),
        marked(1, b'"installation":"test"}'),
    ],
)
def test_a_genuine_entry_that_is_no_request_is_unreadable(content: bytes) -> None:
    with pytest.raises(Unreadable) as raised:
        decode(content, SEAL)
    assert type(raised.value) is Unreadable


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"null",
        json.dumps({"format": 0}).encode(),
        json.dumps({"format": "2"}).encode(),
        encode(Buffered(a_request(), datetime.now(UTC)), SEAL)[:-1],
        encode(Buffered(a_request(), datetime.now(UTC)), SEAL) + b" ",
        b" " + encode(Buffered(a_request(), datetime.now(UTC)), SEAL),
        encode(Buffered(a_request(), datetime.now(UTC)), SEAL).replace(b'"USD"', b'"EUR"'),
        encode(Buffered(a_request(metadata={"a": "x" * MAX_ENTRY_BYTES}), datetime.now(UTC)), SEAL),
    ],
)
def test_anything_else_is_not_authentic(content: bytes) -> None:
    with pytest.raises(NotAuthentic):
        decode(content, SEAL)


UNSIGNED = {
    "format": 1,
    "at": "2026-01-02T03:04:05+00:00",
    "client": [str(UUID(int=1)), "alice", "admin", None],
    "key": "key",
    "source": str(UUID(int=2)),
    "destination": str(UUID(int=3)),
    "asset": "USD",
    "scale": 2,
    "amount": 100,
    "reference": "rent",
    "metadata": {"b": 1, "a": "ä"},
}


def test_an_entry_of_version_1_0_0_is_recognised_and_read_only_where_that_is_asked_for() -> None:
    content = json.dumps(UNSIGNED, separators=(",", ":")).encode()
    assert is_unsigned(content)
    with pytest.raises(NotAuthentic):
        decode(content, SEAL)
    request = a_request(reference="rent", metadata={"b": 1, "a": "ä"})
    read = decode_unverified(content)
    assert read.request == replace(request, client=Client(UUID(int=1), "", "client", None))
    assert read.at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 2},
        {"scale": 19},
        {"key": "\ud800"},
        {"amount": "100"},
        {"amount": 1.5},
        {"client": []},
        {"key": 7},
        {"at": "x"},
        {"at": "9999-12-31T23:59:59-23:00"},
        {"at": "0001-01-01T00:00:00+23:00"},
    ],
)
def test_an_unsigned_entry_that_is_no_request_is_unreadable(changed: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        decode_unverified(json.dumps(UNSIGNED | changed).encode())


def test_version_1_0_0_leaves_entries_of_this_one_to_this_one() -> None:
    """It reads `format` from JSON, and waits where that is higher than 1."""
    content = encode(Buffered(a_request(), datetime.now(UTC)), SEAL)
    assert json.loads(content)["format"] == 2


def test_the_fingerprint_of_a_request_never_changes() -> None:
    """It is stored: changing it breaks repeats across an upgrade."""
    request = a_request(reference="rent", metadata={"b": 1, "a": "ä"})
    assert fingerprint(request).hex() == (
        "8abc46fe7035ab18d49be2545ac8433fd1baa84f24460f04bcc48c71b70d40b5"
    )


@pytest.mark.parametrize("text", ["1.10", "1e2", "-0.0", "2.5", "0.1"])
def test_a_number_has_the_fingerprint_of_the_float_that_it_was_before(text: str) -> None:
    exact, before = ({"a": [each]} for each in (Number(text), float(text)))
    assert fingerprint(a_request(metadata=exact)) == fingerprint(a_request(metadata=before))
