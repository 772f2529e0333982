"""Identifiers: deterministic for transfers, time-ordered for everything else."""

from __future__ import annotations

import time
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.ids import new_id, transfer_id

CLIENT = UUID("0197a2c4-0000-7000-8000-000000000001")
OTHER = UUID("0197a2c4-0000-7000-8000-000000000002")


def test_a_new_id_is_a_version_7_of_the_rfc_variant() -> None:
    for _ in range(1_000):
        assert new_id().version == 7
        assert new_id().variant == RFC_4122


def test_a_new_id_starts_with_the_milliseconds_of_its_making() -> None:
    before = time.time_ns() // 1_000_000
    milliseconds = new_id().int >> 80
    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_ids_of_different_milliseconds_sort_by_age() -> None:
    ids: list[UUID] = []
    while len(ids) < 20:
        fresh = new_id()
        if not ids or fresh.int >> 80 > ids[-1].int >> 80:
            ids.append(fresh)
    assert ids == sorted(ids)


def test_ids_of_one_millisecond_differ() -> None:
    assert len({new_id() for _ in range(20_000)}) == 20_000


def test_all_random_bits_of_a_new_id_vary() -> None:
    seen = 0
    first = new_id().int
    for _ in range(1_000):
        seen |= new_id().int ^ first
    random_bits = (1 << 74) - 1
    rand_a, rand_b = (seen >> 64) & 0xFFF, seen & (1 << 62) - 1
    assert rand_a << 62 | rand_b == random_bits


@pytest.mark.parametrize(
    ("client", "key", "expected"),
    [
        # Fixed values. If one changes, every key ever used would move money again.
        (CLIENT, "order-1", "20d955d5-142b-531f-ad21-1e103d460c23"),
        (CLIENT, "Zahlung \u00fc\u20ac", "0dc387a0-8700-50a6-b407-59d376d12148"),
    ],
)
def test_a_transfer_id_never_changes(client: UUID, key: str, expected: str) -> None:
    assert str(transfer_id(client, key)) == expected


@given(st.uuids(), st.text(min_size=1, max_size=255))
def test_a_transfer_id_is_the_same_each_time_and_a_version_5(client: UUID, key: str) -> None:
    first = transfer_id(client, key)
    assert first == transfer_id(UUID(str(client)), key)
    assert (first.version, first.variant) == (5, RFC_4122)


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_clients_or_two_keys_never_share_a_transfer(one: str, two: str) -> None:
    assert transfer_id(CLIENT, one) != transfer_id(OTHER, one)
    assert (transfer_id(CLIENT, one) == transfer_id(CLIENT, two)) == (one == two)
