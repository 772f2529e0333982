"""Operation descriptions: the types with which `api/openapi/paths/` describes each route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.schemas.requests import Body, Query


@dataclass(frozen=True, kw_only=True)
class Success:
    """One successful answer. headers: names among the document's header components.

    schema: a TypedDict of `api/schemas/`; None where there is no content.
    """

    description: str
    schema: type[Mapping[str, object]] | None = None
    example: Mapping[str, object] | None = None
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path.

    problems: its codes, besides those that `all_problems` adds.
    headers: names among the document's parameter components.
    takes_key: it takes an Idempotency-Key, which may be left out.
    """

    method: str
    path: str
    summary: str
    tag: str
    answers: dict[int, Success]
    description: str = ""
    query: type[Query] | None = None
    body: type[Body] | None = None
    example: Mapping[str, object] | None = None
    headers: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    is_open: bool = False
    takes_no_body: bool = False
    takes_key: bool = False

    @property
    def is_counted(self) -> bool:
        """Whether it counts against a rate limit: that of writes, or one of its own."""
        return self.method != "get"

    @property
    def all_problems(self) -> tuple[str, ...]:
        """Every code that the operation can answer."""
        codes = set(self.problems)
        if not self.is_open:
            codes |= {"unauthenticated", "not_acceptable", "invalid_request"}
            codes |= {"internal_error", "unavailable", "rate_limited", "headers_too_large"}
        if self.is_counted and not self.is_open:
            codes |= {"forbidden"}  # with a key that may only read
        if self.takes_key:
            codes |= {"idempotency_key_missing", "idempotency_key_reused"}
        if self.body or self.takes_no_body:
            codes |= {"unsupported_media_type", "too_large"}
        return tuple(sorted(codes))
