"""Cursors: mark where the next page of a list begins; opaque to clients, checked when used.

Guarantees that a cursor continues only the list it was made for, with the same filters: with
others, pages would leave out objects, and nobody would notice. Cursors are not signed: a forged
one shows a client nothing that it may not list.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from api.http.problems import Problem
from api.schemas.fields import ASSET_CODE
from api.schemas.requests import PageQuery
from ledger.polling.recorded_order import START, Place

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class PagedList:
    """A list with its filters: makes its cursors, and reads back no others."""

    def __init__(self, kind: str, query: PageQuery, *, of: UUID | None = None) -> None:
        """Name the list that is asked for.

        kind: a word for each route, without a colon. query: the page, with all filters.
        of: the client or wallet whose objects are listed; None where these are everybody's.
        """
        # All filters of the query that are set, in their parsed form: none can be forgotten, and
        # another spelling of the same time or id is the same filter. Those that are not set do
        # not count, so a filter that a later version adds leaves older cursors valid.
        filters = sorted(
            (name, str(value))
            for name, value in query
            if value is not None and name not in PageQuery.model_fields
        )
        named = json.dumps([kind, str(of), filters])
        self._kind = kind
        self._digest = hashlib.sha256(named.encode()).hexdigest()[:16]
        self._cursor = query.cursor

    def cursor_after(self, at: datetime, tie: UUID | int) -> str:
        """Encode the place after the object made at `at`; `tie` orders objects of one instant."""
        return self._encode((at - _EPOCH) // _MICROSECOND, tie)

    def cursor_at(self, place: Place) -> str:
        """Encode a place in the order of recording."""
        return self._encode(place.order, f"{place.id}.{place.accepted_at_us}")

    def cursor_after_code(self, code: str) -> str:
        """Encode the place after the object with this code."""
        return self._encode(0, code)

    def _encode(self, number: int, tie: UUID | int | str) -> str:
        text = f"{self._kind}:{self._digest}:{number}:{tie}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def place_by_id(self) -> tuple[datetime, UUID] | None:
        """Return where the page begins, if the tie is an id; None for the first page.

        Raises: Problem invalid_request: when the cursor is not one of this list.
        """
        if self._cursor is None:
            return None
        microseconds, tie = self._read(self._cursor)
        return _time(microseconds), _id(tie)

    def recorded_place(self) -> Place:
        """Return where the page begins in the order of recording.

        Raises: Problem invalid_request: when the cursor is not one of this list.
        """
        if self._cursor is None:
            return START
        number, tie = self._read(self._cursor)
        id, _, accepted_at_us = tie.partition(".")
        if number < 0 or not _is_number(accepted_at_us):
            raise _bad_cursor()
        return Place(number, _id(id), int(accepted_at_us))

    def place_by_seq(self) -> tuple[datetime, int] | None:
        """Return where the page begins, if the tie is a number; None for the first page.

        Raises: Problem invalid_request: when the cursor is not one of this list.
        """
        if self._cursor is None:
            return None
        microseconds, tie = self._read(self._cursor)
        if not _is_number(tie):
            raise _bad_cursor()
        return _time(microseconds), int(tie)

    def place_by_code(self) -> str | None:
        """Return the code before the page; None for the first page.

        Raises: Problem invalid_request: when the cursor is not one of this list.
        """
        if self._cursor is None:
            return None
        _, code = self._read(self._cursor)
        if not ASSET_CODE.fullmatch(code):
            raise _bad_cursor()
        return code

    def _read(self, cursor: str) -> tuple[int, str]:
        try:
            padded = cursor.encode() + b"=" * (-len(cursor) % 4)
            kind, *digest, text, tie = (
                base64.b64decode(padded, b"-_", validate=True).decode().split(":")
            )
            number = int(text)
        except (ValueError, binascii.Error) as error:
            raise _bad_cursor() from error
        if kind != self._kind or len(digest) > 1 or abs(number) >= 2**63:
            raise _bad_cursor()
        if not digest:
            # Version 1.0.0 did not record the filters, so nothing tells whether they are the same.
            raise Problem(
                "invalid_request",
                "cursor was made by an earlier version of Truepenny. Start again without it.",
            )
        if digest != [self._digest]:
            raise Problem(
                "invalid_request",
                "cursor was made with other filters, or for another wallet or client. "
                "Repeat the request that returned it, or start again without a cursor.",
            )
        return number, tie


def _time(microseconds: int) -> datetime:
    try:
        return _EPOCH + microseconds * _MICROSECOND
    except OverflowError as error:
        raise _bad_cursor() from error


def _is_number(tie: str) -> bool:
    return tie.isascii() and tie.isdigit() and len(tie) < 20 and int(tie) < 2**63


def _id(tie: str) -> UUID:
    try:
        return UUID(tie)
    except ValueError as error:
        raise _bad_cursor() from error


def _bad_cursor() -> Problem:
    return Problem("invalid_request", "cursor is not a next_cursor of this list.")
