"""Rate limit headers: three on every counted answer, and the problem when a limit is used up."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final

from flask import Response, g

from api.http.problems import Problem

LIMIT: Final = "X-RateLimit-Limit"
REMAINING: Final = "X-RateLimit-Remaining"
RESET: Final = "X-RateLimit-Reset"
HEADERS: Final = (LIMIT, REMAINING, RESET)


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """The limit of the current request, and what is left of it. reset_at_s: a POSIX time."""

    limit: int
    remaining: int
    reset_at_s: int


def report(status: LimitStatus) -> None:
    """Note the status for the headers of the current request's answer, whatever its outcome."""
    g.limit_status = status


def add_rate_headers(response: Response) -> None:
    """Add the headers of the reported status; none when the request was not counted."""
    status: LimitStatus | None = g.get("limit_status")
    if status is not None:
        response.headers[LIMIT] = str(status.limit)
        response.headers[REMAINING] = str(status.remaining)
        response.headers[RESET] = str(status.reset_at_s)


def rate_limited(status: LimitStatus, detail: str) -> Problem:
    """Report the status, and make the problem of a limit that is used up.

    detail: a sentence that says which limit.
    """
    report(status)
    retry_after_s = max(1, math.ceil(status.reset_at_s - time.time()))
    return Problem(
        "rate_limited",
        f"{detail} Try again in {retry_after_s} s.",
        headers={"Retry-After": str(retry_after_s)},
    )
