"""Calls: one request to the server, described without sending it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

from truepenny.protocol.exact_json import dumps

T = TypeVar("T")
Id = str | UUID
QueryValue = str | UUID | datetime | int | None


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[Any], T]
    """Makes the result of the answer's JSON. Raises: ValueError: when it is something else."""
    body: bytes | None = None
    headers: Mapping[str, bytes] = field(default_factory=dict)
    idempotency_key: str | None = None
    names_a_transfer: bool = False
    """Whether the key is that of a transfer, whose id follows from it."""
    is_repeatable: bool = True
    """Whether a second arrival does no harm. If not, nothing in doubt is sent again."""
    is_done_if_missing: bool = False
    """Whether 404 says that an earlier attempt has done it."""
    wait_s: float = 0.0
    """How long the server may take on top of the usual, because it was asked to wait."""

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"


def get(
    path: str,
    read: Callable[[Any], T],
    *,
    query: Mapping[str, QueryValue] | None = None,
    wait_s: float = 0.0,
) -> Call[T]:
    """Return a call that reads."""
    return Call("GET", _with_query(path, query or {}), read, headers=_prefer(wait_s), wait_s=wait_s)


def post(
    path: str,
    read: Callable[[Any], T],
    *,
    body: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
    names_a_transfer: bool = False,
    is_repeatable: bool = True,
    wait_s: float = 0.0,
) -> Call[T]:
    """Return a call that writes. Fields of the body that are None are left out."""
    headers = _prefer(wait_s)
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key.encode()
    return Call(
        "POST",
        path,
        read,
        body=None if body is None else json_body(body),
        headers=headers,
        idempotency_key=idempotency_key,
        names_a_transfer=names_a_transfer,
        is_repeatable=is_repeatable,
        wait_s=wait_s,
    )


def json_body(fields: Mapping[str, Any]) -> bytes:
    """Return a body, without the fields that are None."""
    return dumps({name: value for name, value in fields.items() if value is not None})


def at(*segments: Id) -> str:
    """Return a path below /v1. A segment may hold any characters."""
    return "/".join(("/v1", *(quote(str(segment), safe="") for segment in segments)))


def _with_query(path: str, query: Mapping[str, QueryValue]) -> str:
    pairs = [(name, _query_text(value)) for name, value in query.items() if value is not None]
    return f"{path}?{urlencode(pairs)}" if pairs else path


def repeated(path: str, name: str, values: Iterable[Id]) -> str:
    """Return a path whose query has one parameter once for each value."""
    return f"{path}?{urlencode([(name, str(value)) for value in values])}"


def _query_text(value: str | UUID | datetime | int) -> str:
    return time_text(value) if isinstance(value, datetime) else str(value)


def time_text(at: datetime) -> str:
    """Return a time as RFC 3339. Raises: ValueError: when it does not say its time zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at!r} has no time zone")
    return at.isoformat()


def _prefer(wait_s: float) -> dict[str, bytes]:
    return {"Prefer": f"wait={round(wait_s)}".encode()} if wait_s > 0 else {}
