"""Cursors: mark where the next page of a list begins; opaque to clients, checked when used.

Guarantees that a cursor of one list is refused by another, and that only a text which could be
our cursor is accepted.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from uuid import UUID

from api.http.problems import Problem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def make_cursor(kind: str, at: datetime, tie: UUID | int) -> str:
    """Encode the place after the object made at `at`; `tie` orders objects of one instant."""
    text = f"{kind}:{(at - _EPOCH) // _MICROSECOND}:{tie}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_id_cursor(kind: str, cursor: str | None) -> tuple[datetime, UUID] | None:
    """Decode a cursor whose tie is an id. Raises: Problem invalid_request: when it is none."""
    if cursor is None:
        return None
    at, tie = _read(kind, cursor)
    try:
        return at, UUID(tie)
    except ValueError as error:
        raise _bad_cursor() from error


def read_seq_cursor(kind: str, cursor: str | None) -> tuple[datetime, int] | None:
    """Decode a cursor whose tie is a number. Raises: Problem invalid_request: when it is none."""
    if cursor is None:
        return None
    at, tie = _read(kind, cursor)
    if not (tie.isascii() and tie.isdigit() and int(tie) < 2**63):
        raise _bad_cursor()
    return at, int(tie)


def _read(kind: str, cursor: str) -> tuple[datetime, str]:
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        found, microseconds, tie = (
            base64.b64decode(padded, b"-_", validate=True).decode().split(":")
        )
        at = _EPOCH + int(microseconds) * _MICROSECOND
    except (ValueError, binascii.Error, OverflowError) as error:
        raise _bad_cursor() from error
    if found != kind:
        raise _bad_cursor()
    return at, tie


def _bad_cursor() -> Problem:
    return Problem("invalid_request", "cursor is not a next_cursor of this list.")
