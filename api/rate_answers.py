"""What a client is told about its limit: three headers, and the problem when it is used up."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final

from flask import Response, g

from api.problems import Problem

LIMIT: Final = "X-RateLimit-Limit"
REMAINING: Final = "X-RateLimit-Remaining"
RESET: Final = "X-RateLimit-Reset"
HEADERS: Final = (LIMIT, REMAINING, RESET)


@dataclass(frozen=True, slots=True)
class Standing:
    """How the current request's window stands. reset_at_s: its end, as a POSIX time."""

    limit: int
    remaining: int
    reset_at_s: int


def tell(standing: Standing) -> None:
    """Have the current request's answer say how it stands, whatever the answer will be."""
    g.rate_standing = standing


def add_rate_headers(response: Response) -> None:
    """Say what was to be told; nothing on the answer to a request that was not counted."""
    standing: Standing | None = g.get("rate_standing")
    if standing is not None:
        response.headers[LIMIT] = str(standing.limit)
        response.headers[REMAINING] = str(standing.remaining)
        response.headers[RESET] = str(standing.reset_at_s)


def rate_limited(standing: Standing, detail: str) -> Problem:
    """Make the problem of a limit that is used up. detail: a sentence that says which."""
    tell(standing)
    retry_after_s = max(1, math.ceil(standing.reset_at_s - time.time()))
    return Problem(
        "rate_limited",
        f"{detail} Try again in {retry_after_s} s.",
        headers={"Retry-After": str(retry_after_s)},
    )
