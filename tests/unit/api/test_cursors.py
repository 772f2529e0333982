"""Cursors: read back by the list that made them, with the same filters, and by no other."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.cursors import PagedList
from api.http.problems import Problem
from api.schemas.requests import PageQuery, TransferQuery
from ledger.polling.recorded_order import START, Place

AT = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
ID = UUID("0199a3c2-5e80-7a31-9c4e-2f6b8d0e1a57")
OTHER = UUID("0199a3c2-5e80-7a31-9c4e-2f6b8d0e1a58")
FILTERS: dict[str, Any] = {
    "wallet": str(ID),
    "state": "committed",
    "idempotency_key": "order-1",
    "created_after": "2026-01-31T12:00:00Z",
    "created_before": "2026-02-28T12:00:00Z",
    "order": "recorded",
}


def paged(kind: str = "a", *, of: UUID | None = None, **parameters: Any) -> PagedList:
    return PagedList(kind, TransferQuery.model_validate(parameters), of=of)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def refusal_of(page: PagedList) -> str:
    """Return why a page's cursor is refused."""
    with pytest.raises(Problem) as refused:
        page.place_by_id()
    assert (refused.value.code, refused.value.status) == ("invalid_request", 400)
    return refused.value.detail


def test_a_cursor_decodes_to_what_it_was_made_of() -> None:
    by_id = paged(**FILTERS).cursor_after(AT, ID)
    assert paged(cursor=by_id, **FILTERS).place_by_id() == (AT, ID)
    by_seq = paged("b", of=ID).cursor_after(AT, 42)
    assert paged("b", of=ID, cursor=by_seq).place_by_seq() == (AT, 42)


def test_a_place_in_the_order_of_recording_decodes_to_what_it_was_made_of() -> None:
    for place in (START, Place(2**52 + 7, ID), Place(2**63 - 1, OTHER, 2**62)):
        cursor = paged(**FILTERS).cursor_at(place)
        assert paged(cursor=cursor, **FILTERS).recorded_place() == place
    assert paged(**FILTERS).recorded_place() == START
    for number in (-1, 2**63):
        wrong = paged(cursor=paged().cursor_at(Place(number, ID)))
        with pytest.raises(Problem):
            wrong.recorded_place()
    for accepted_at_us in (-1, 2**63):
        wrong = paged(cursor=paged().cursor_at(Place(1, ID, accepted_at_us)))
        with pytest.raises(Problem):
            wrong.recorded_place()


def test_the_first_page_has_no_place() -> None:
    assert paged(**FILTERS).place_by_id() is None
    assert paged(**FILTERS).place_by_seq() is None


def test_every_filter_is_covered() -> None:
    assert set(FILTERS) == set(TransferQuery.model_fields) - set(PageQuery.model_fields)


@pytest.mark.parametrize("name", FILTERS)
def test_a_cursor_is_refused_with_a_filter_more_or_less(name: str) -> None:
    fewer = {each: value for each, value in FILTERS.items() if each != name}
    narrow, wide = paged(**FILTERS).cursor_after(AT, ID), paged(**fewer).cursor_after(AT, ID)
    assert "other filters" in refusal_of(paged(cursor=narrow, **fewer))
    assert "other filters" in refusal_of(paged(cursor=wide, **FILTERS))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wallet", str(OTHER)),
        ("state", "rejected"),
        ("idempotency_key", "order-2"),
        ("created_after", "2026-01-31T12:00:00.000001Z"),
        ("created_before", FILTERS["created_after"]),
    ],
)
def test_a_cursor_is_refused_with_another_value_of_a_filter(name: str, value: str) -> None:
    cursor = paged(**FILTERS).cursor_after(AT, ID)
    assert "other filters" in refusal_of(paged(cursor=cursor, **(FILTERS | {name: value})))


def test_a_cursor_is_refused_when_two_filters_swap_their_values() -> None:
    cursor = paged(created_after=FILTERS["created_after"]).cursor_after(AT, ID)
    swapped = paged(cursor=cursor, created_before=FILTERS["created_after"])
    assert "other filters" in refusal_of(swapped)


def test_a_cursor_is_refused_for_another_client_or_wallet() -> None:
    cursor = paged(of=ID).cursor_after(AT, ID)
    for other in (OTHER, None):
        assert "another wallet or client" in refusal_of(paged(of=other, cursor=cursor))


@pytest.mark.parametrize(
    "changed",
    [
        {"limit": "7"},
        {"wallet": str(ID).upper()},
        {"created_after": "2026-01-31T14:00:00+02:00"},
        {"created_after": "2026-01-31t12:00:00.000z"},
    ],
)
def test_the_limit_and_the_spelling_of_a_filter_may_change(changed: dict[str, str]) -> None:
    cursor = paged(**FILTERS).cursor_after(AT, ID)
    assert paged(cursor=cursor, **(FILTERS | changed)).place_by_id() == (AT, ID)


def test_a_filter_that_a_later_version_adds_leaves_cursors_valid() -> None:
    class LaterQuery(TransferQuery):
        added: str | None = None

    cursor = paged(**FILTERS).cursor_after(AT, ID)
    later = LaterQuery.model_validate(FILTERS | {"cursor": cursor})
    assert PagedList("a", later).place_by_id() == (AT, ID)


def test_a_cursor_of_the_first_version_is_refused_with_its_reason() -> None:
    cursor = encoded(f"a:1769860800123456:{ID}")
    assert "an earlier version" in refusal_of(paged(cursor=cursor))
    assert "not a next_cursor" in refusal_of(paged("b", cursor=cursor))


@pytest.mark.parametrize(
    "cursor",
    [
        paged("b").cursor_after(AT, ID),
        paged("a").cursor_after(AT, 42),
        paged("a").cursor_after(AT, ID)[:-4],
        "",
        "garbage",
        "a" * 5,
        "ü",
        encoded("a:99999999999999999999999999:1"),
        encoded(f"a:0:0:0:0:{ID}"),
        encoded(f"a:0:{ID}:"),
        encoded("a"),
    ],
)
def test_anything_but_a_cursor_of_this_list_is_refused(cursor: str) -> None:
    assert "not a next_cursor" in refusal_of(paged(cursor=cursor))


def test_a_number_that_the_database_cannot_hold_is_no_place() -> None:
    cursor = paged().cursor_after(AT, 2**63)
    with pytest.raises(Problem):
        paged(cursor=cursor).place_by_seq()


@given(st.text(max_size=100))
def test_any_cursor_is_read_or_refused(cursor: str) -> None:
    page = paged(cursor=cursor)
    for read in (page.place_by_id, page.place_by_seq):
        with pytest.raises(Problem):
            read()
