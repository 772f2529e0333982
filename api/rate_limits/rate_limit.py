"""Rate limit: counts requests by key in a fixed window, and refuses those above the limit.

Guarantees that the answer to a counted request reports its window in headers, whether the
request is let in or refused. Writes are counted by Flask-Limiter (`write_limit`), which needs a
route and a known caller; everything else is counted here.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from limits import parse

from api.http.problems import Problem
from api.rate_limits.counters import Counters, Window
from api.rate_limits.headers import LimitStatus, rate_limited, report


class RateLimit:
    """One limit, for example 30 requests a minute for each key."""

    def __init__(self, limit: str, counters: Counters, *, scope: str, what: str) -> None:
        """Take the limit as text, for example "30/minute".

        scope: separates the counters of this limit from those of others with the same keys.
        what: what is limited: the beginning of the problem's detail, such as "Reports are".
        """
        self._limit = parse(limit)
        self._counters = counters
        self._scope = scope
        self._what = what

    def check(self, key: str) -> None:
        """Count the current request.

        Raises: Problem rate_limited: when it exceeds the limit.
        """
        window = self._counters.hit(self._name(key), self._limit.get_expiry())
        if window.count > self._limit.amount:
            raise self._refusal(window)
        report(self._status(window))

    def require_room(self, key: str, *, unless: Callable[[], bool]) -> None:
        """Refuse the current request when the limit is used up. Counts nothing.

        unless: called only then; returns whether the request is let in despite the limit.
        Raises: Problem rate_limited.
        """
        window = self._counters.look(self._name(key))
        if window.count >= self._limit.amount and not unless():
            raise self._refusal(window)

    def _name(self, key: str) -> str:
        return self._limit.key_for(key, self._scope)

    def _refusal(self, window: Window) -> Problem:
        return rate_limited(self._status(window), f"{self._what} limited to {self._limit}.")

    def _status(self, window: Window) -> LimitStatus:
        remaining = max(0, self._limit.amount - window.count)
        return LimitStatus(self._limit.amount, remaining, int(time.time() + window.left_s) + 1)
