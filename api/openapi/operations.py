"""How an operation is described: the vocabulary of `api/openapi/paths.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api.answer_models import AnswerModel
from api.bodies import Body
from api.queries import Query


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One successful answer. headers: names among the document's header components.

    model: None where there is no content.
    """

    description: str
    model: type[AnswerModel] | None = None
    example: Any = None
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path.

    problems: the codes that this operation answers besides those that all of its kind do.
    headers: names of the parameter components that it takes.
    """

    method: str
    path: str
    summary: str
    tag: str
    answers: dict[int, Answer]
    description: str = ""
    query: type[Query] | None = None
    body: type[Body] | None = None
    example: Any = None
    headers: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    is_open: bool = False
    takes_no_body: bool = False

    @property
    def is_counted(self) -> bool:
        """Whether it counts against a limit: that of writes, or one of its own."""
        return self.method != "get"

    @property
    def all_problems(self) -> tuple[str, ...]:
        """Every code that the operation can answer."""
        codes = set(self.problems)
        if not self.is_open:
            codes |= {"unauthenticated", "not_acceptable", "invalid_request"}
            codes |= {"internal_error", "unavailable", "rate_limited"}
        if self.body or self.takes_no_body:
            codes |= {"unsupported_media_type", "too_large"}
        return tuple(sorted(codes))
