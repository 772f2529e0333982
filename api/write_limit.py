"""The limit of writes: by the client's address, or by the client where it has its own.

Guarantees that reading is never limited, that a batch counts as one request, and that a
client whose limit is `none` costs next to nothing. Counts before a body is read.

Flask-Limiter keeps the rules and decides; it does not run around every request. Its hooks
would cost each of them 40 microseconds, also where nothing is counted, and its headers
would overwrite the Retry-After by which a 202 says when to ask again.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Final

from flask import Flask, request
from flask_limiter import Limiter, RateLimitExceeded
from limits import parse

from api.authentication import caller
from api.client_addresses import client_address
from api.rate_answers import Standing, rate_limited, tell
from api.rate_counters import Counters
from api.rate_storage import SCHEME
from monitoring.logs import get_logger

NONE: Final = "none"
_LONGEST_WINDOW_S: Final = 1_000 * 86_400
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

log = get_logger(__name__)


class WriteLimit:
    """Counts the writes of one application."""

    def __init__(self, default: str, counters: Counters) -> None:
        """Take the limit of all who have none of their own: "10/minute", or "none"."""
        self._default = default
        self._counters = counters
        self._limiter = Limiter(self._counted_by, headers_enabled=False)
        # It would log each refusal, so that a flood of requests became a flood of lines.
        self._limiter.logger.setLevel(logging.WARNING)
        self._count = self._limiter.shared_limit(self._limit, scope="writes")(_counted)

    def init_app(self, app: Flask) -> None:
        """Let Flask-Limiter find its storage, and none of its hooks."""
        app.config["RATELIMIT_STORAGE_URI"] = f"{SCHEME}://"
        app.config["RATELIMIT_STORAGE_OPTIONS"] = {"counters": self._counters}
        app.extensions["limiter"] = {self._limiter}  # as if its hooks were in place
        self._limiter.init_app(app)

    def count(self) -> None:
        """Count the current request, whose caller is known, if it writes.

        Raises: Problem rate_limited: when it is one too many.
        """
        if request.method in _SAFE or request.url_rule is None or self._limit() == NONE:
            return
        try:
            self._count()
        except RateLimitExceeded as error:
            detail = f"Writing is limited to {error.limit.limit}."
            raise rate_limited(self._standing(), detail) from None
        tell(self._standing())

    def _limit(self) -> str:
        own = caller().rate_limit
        return self._default if own is None or not _is_readable(own) else own

    def _counted_by(self) -> str:
        client = caller()
        return client_address() if client.rate_limit is None else str(client.id)

    def _standing(self) -> Standing:
        current = self._limiter.current_limit
        if current is None:
            raise RuntimeError("the request was not counted")
        return Standing(current.limit.amount, current.remaining, current.reset_at)


def _counted() -> None:
    """Nothing is left to do: Flask-Limiter counts whoever calls this."""


@lru_cache(maxsize=1_000)
def _is_readable(limit: str) -> bool:
    """Tell whether a stored limit can be used. The API stores no other; a person might."""
    try:
        if limit == NONE:
            return True
        parsed = parse(limit)
        # The cache would refuse a window without end, and seem to be broken.
        return parsed.amount > 0 and parsed.get_expiry() <= _LONGEST_WINDOW_S
    except ValueError as error:
        log.error("rate_limit_unreadable", exc_info=error)
        return False
