"""Pages of lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from truepenny.answers.decoding import Answer, decode
from truepenny.protocol.actions import Plan
from truepenny.protocol.calls import QueryValue, get
from truepenny.protocol.exchange import exchange
from truepenny.protocol.session import Session

A = TypeVar("A", bound=Answer)
PAGE_SIZE = 200


@dataclass(frozen=True)
class Page(Generic[A]):
    """Some objects of a list, and where the list goes on."""

    data: tuple[A, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Listing(Generic[A]):
    """A list of the server, with its filters; its pages are read one after the other."""

    path: str
    kind: type[A]
    query: Mapping[str, QueryValue]
    cursor: str | None = None
    page_size: int = PAGE_SIZE

    def page(self, session: Session, cursor: str | None) -> Plan[Page[A]]:
        """Return the plan that reads the page at a cursor."""
        query = {**self.query, "limit": self.page_size, "cursor": cursor}
        return exchange(session, get(self.path, self._read, query=query))

    def _read(self, document: Any) -> Page[A]:
        cursor = document["next_cursor"]
        if not (cursor is None or isinstance(cursor, str)):
            raise ValueError("next_cursor is no text")
        return Page(tuple(decode(self.kind, each) for each in document["data"]), cursor)


def read_all(kind: type[A]) -> Callable[[Any], tuple[A, ...]]:
    """Return the reader of a list that has one page."""
    return lambda document: tuple(decode(kind, each) for each in document["data"])
