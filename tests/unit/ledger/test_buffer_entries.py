"""Buffer entries: a request survives writing and reading, and invalid entries are refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.acceptance import TransferRequest, fingerprint
from ledger.buffer.entries import Buffered, decode, encode
from ledger.clients import Client
from ledger.errors import NewerFormat, Unreadable
from ledger.ids import transfer_id

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT,
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


@given(buffered())
def test_a_written_entry_is_read_back_complete(kept: Buffered) -> None:
    assert decode(encode(kept)) == kept


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


def test_an_entry_of_a_newer_version_differs_from_garbage() -> None:
    with pytest.raises(NewerFormat):
        decode(json.dumps({"format": 2}).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        json.dumps({"format": 0}).encode(),
        json.dumps({"format": "2"}).encode(),
        encode(Buffered(a_request(), datetime.now(UTC)))[:-1],
        encode(Buffered(a_request(), datetime.now(UTC))).replace(b'"source"', b'"sauce"'),
        encode(Buffered(a_request(), datetime.now(UTC))).replace(b'"USD"', b'"US$"D'),
    ],
)
def test_anything_else_is_unreadable(content: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(content)


def test_an_earlier_version_and_this_one_read_each_other_and_know_each_others_repeats() -> None:
    """What is stored of a request: changing either breaks repeats across an upgrade."""
    request = a_request(reference="rent", metadata={"b": 1, "a": "ä"})
    entry = {
        "format": 1,
        "at": "2026-01-02T03:04:05+00:00",
        "client": [str(UUID(int=1)), "alice", "client", None],
        "key": "key",
        "source": str(UUID(int=2)),
        "destination": str(UUID(int=3)),
        "asset": "USD",
        "scale": 2,
        "amount": 100,
        "reference": "rent",
        "metadata": {"b": 1, "a": "ä"},
    }
    assert json.loads(encode(Buffered(request, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)))) == entry
    assert fingerprint(request).hex() == (
        "8abc46fe7035ab18d49be2545ac8433fd1baa84f24460f04bcc48c71b70d40b5"
    )
