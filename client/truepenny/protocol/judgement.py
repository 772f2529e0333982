"""Judgement: what one answer, or the lack of one, says about the request that was sent.

Guarantees that a request counts as not recorded only where that is certain: 429, `overloaded`,
`recorded: false`, and a connection that was never made. Everything else that is neither a
result nor a refusal leaves the outcome open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from truepenny.errors import FieldProblem, Problem, Refused, refusal
from truepenny.protocol.actions import HttpAnswer, SendFailure
from truepenny.protocol.calls import Call
from truepenny.protocol.exact_json import loads
from truepenny.protocol.pauses import retry_after_s

T = TypeVar("T")

TOO_MANY: Final = 429
RETRIED: Final = frozenset({408, TOO_MANY, 500, 502, 503, 504})
"""Statuses after which the same request may be sent again."""
CONCLUSIVE: Final = frozenset({409, 422})
"""Statuses of problems that the ledger found, after it had looked the key up."""


@dataclass(frozen=True)
class Done(Generic[T]):
    """The server did what was asked."""

    result: T


@dataclass(frozen=True)
class Denied:
    """The server refused, for good."""

    error: Refused

    @property
    def is_conclusive(self) -> bool:
        """Whether it also speaks for earlier attempts with the same key.

        A refused key or address does not: an earlier attempt may have passed. What the ledger
        says about the transfer does: a key that has one is answered by that transfer.
        """
        problem = self.error.problem
        return problem.code is not None and (
            problem.transfer_id is not None
            or problem.status in CONCLUSIVE
            or problem.code == "insufficient_funds"
        )


@dataclass(frozen=True)
class Failed:
    """No result and no refusal: the attempt failed."""

    reason: str
    may_be_recorded: bool
    is_worth_a_retry: bool
    retry_after_s: float = 0.0
    is_limit: bool = False
    """Whether the server said that too many requests come."""
    transfer_id: str | None = None


def judge(call: Call[T], outcome: HttpAnswer | SendFailure) -> Done[T] | Denied | Failed:
    """Tell what an attempt came to."""
    if isinstance(outcome, SendFailure):
        return Failed(outcome.reason, may_be_recorded=outcome.has_left, is_worth_a_retry=True)
    if 200 <= outcome.status < 300:
        return _result(call, outcome)
    problem = read_problem(outcome)
    if is_refusal(outcome.status):
        return Denied(refusal(problem))
    return Failed(
        f"{problem.code or f'status {outcome.status}'}: {problem.detail}",
        may_be_recorded=not is_certainly_unrecorded(problem),
        is_worth_a_retry=outcome.status in RETRIED,
        retry_after_s=retry_after_s(outcome.headers),
        is_limit=outcome.status == TOO_MANY,
        transfer_id=problem.transfer_id,
    )


def is_refusal(status: int) -> bool:
    """Tell whether a status says no, for good."""
    return 400 <= status < 500 and status not in RETRIED


def is_certainly_unrecorded(problem: Problem) -> bool:
    """Tell whether a problem that may pass says for certain that nothing was recorded."""
    return (
        problem.status == TOO_MANY
        or problem.code == "overloaded"
        or problem.document.get("recorded") is False
    )


def _result(call: Call[T], answer: HttpAnswer) -> Done[T] | Failed:
    try:
        return Done(call.read(loads(answer.body) if answer.body else None))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # A page of a proxy, or an answer to another request: it says nothing about ours.
        reason = f"the answer with status {answer.status} cannot be read: {error}"
        return Failed(reason, may_be_recorded=True, is_worth_a_retry=True)


def read_problem(answer: HttpAnswer) -> Problem:
    """Read what a failed answer says; a proxy's page says no more than its status."""
    try:
        document = loads(answer.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {}
    return problem_of(document, answer.status, answer.headers.get("x-request-id"))


def problem_of(document: Mapping[str, Any], status: int, request_id: str | None) -> Problem:
    """Make a problem of its document."""
    code, errors = document.get("code"), document.get("errors")
    transfer_id = document.get("transfer_id")
    return Problem(
        status=status,
        code=code if isinstance(code, str) else None,
        detail=str(document.get("detail", "the answer says no more")),
        request_id=str(document["request_id"]) if "request_id" in document else request_id,
        errors=tuple(
            FieldProblem(str(each.get("pointer", "")), str(each.get("detail", "")))
            for each in (errors if isinstance(errors, list) else ())
            if isinstance(each, dict)
        ),
        transfer_id=transfer_id if isinstance(transfer_id, str) else None,
        document=document,
    )
