"""Limits writes per client address, or per client where it has a limit of its own.

Guarantees that reading is never limited, that a batch counts as one request, and that counting
comes before a body is read. Flask-Limiter holds the rule, counts before each request and decides;
`docs/decisions.md` says which of its parts are replaced, and why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from flask import Flask, Response, g, request
from flask_limiter import ApplicationLimit, Limiter, RateLimitExceeded
from limits import parse
from limits.storage import Storage

from api.auth.api_keys import SAFE_METHODS, caller, is_caller_known
from api.http.responses import problem_response
from api.rate_limits.client_ip import client_address
from api.rate_limits.counters import Counters, Window
from api.rate_limits.headers import LimitStatus, rate_limited, report
from monitoring.logs import get_logger

NONE: Final = "none"
_SCHEME: Final = "truepenny"
_LONGEST_WINDOW_S: Final = 1_000 * 86_400

log = get_logger(__name__)


class WriteLimit:
    """Limits the writes to one application."""

    def __init__(self, default: str, counters: Counters) -> None:
        """Take the limit of clients that have none of their own: "10/minute", or "none"."""
        self._default = default
        self._counters = counters
        self._limiter = _Limiter(
            self._is_exempt,
            _counted_by,
            application_limits=[ApplicationLimit(self._limit, scope="writes")],
            headers_enabled=False,  # its Retry-After would replace the one of a 202
        )
        # Else it logs each refusal, and a flood of requests becomes a flood of lines.
        self._limiter.logger.setLevel(logging.WARNING)

    def init_app(self, app: Flask) -> None:
        """Count before each request. Call it after the authentication has been registered."""
        app.config["RATELIMIT_STORAGE_URI"] = f"{_SCHEME}://"
        app.config["RATELIMIT_STORAGE_OPTIONS"] = {"counters": self._counters}
        self._limiter.init_app(app)
        app.before_request(self._report)
        app.register_error_handler(RateLimitExceeded, self._refused)

    def _is_exempt(self) -> bool:
        return request.method in SAFE_METHODS or not is_caller_known() or self._limit() == NONE

    def _limit(self) -> str:
        own = caller().rate_limit
        return self._default if own is None or not is_readable(own) else own

    def _report(self) -> None:
        if self._limiter.current_limit is not None:
            report(self._status())

    def _refused(self, error: RateLimitExceeded) -> Response:
        detail = f"Writing is limited to {error.limit.limit}."
        return problem_response(rate_limited(self._status(), detail))

    def _status(self) -> LimitStatus:
        current = self._limiter.current_limit
        if current is None:
            raise RuntimeError("the request was not counted")
        return LimitStatus(current.limit.amount, current.remaining, current.reset_at)


class _Limiter(Limiter):
    """Flask-Limiter, which does nothing for a request that is exempt.

    By a filter of its own it would first collect and evaluate the limits of each.
    """

    def __init__(self, is_exempt: Callable[[], bool], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._is_exempt = is_exempt

    def _check_request_limit(self, *arguments: Any, **options: Any) -> None:
        if not self._is_exempt():
            super()._check_request_limit(*arguments, **options)


class CountersStorage(Storage):
    """Our counters as a storage for Flask-Limiter, which finds it by its scheme.

    Fixed windows only. It keeps the counted window in the request, because Flask-Limiter asks
    for it three times. It never raises, so Flask-Limiter never needs a fallback of its own.
    """

    STORAGE_SCHEME = [_SCHEME]  # noqa: RUF012 - the library reads it off the class

    def __init__(self, uri: str, *, counters: Counters, wrap_exceptions: bool = False) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._counters = counters

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """No exceptions: nothing is raised here that the library could wrap."""
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count a request. expiry: the length of the window in seconds."""
        if amount != 1:
            raise NotImplementedError("a request counts as one")
        window = self._counters.hit(key, expiry)
        _counted_windows()[key] = window
        return window.count

    def get(self, key: str) -> int:
        """Return how many requests the window has counted."""
        return self._window(key).count

    def get_expiry(self, key: str) -> float:
        """Return when the window ends, as a POSIX time."""
        return time.time() + self._window(key).left_s

    def check(self) -> bool:
        """Return that it works, as it always does."""
        return True

    def reset(self) -> int | None:
        """Refuse: the cache holds more than counters."""
        raise NotImplementedError

    def clear(self, key: str) -> None:
        """Refuse: a counter goes when its window ends."""
        raise NotImplementedError

    def _window(self, key: str) -> Window:
        return _counted_windows().get(key) or self._counters.look(key)


def _counted_windows() -> dict[str, Window]:
    """Return the windows in which the current request was counted, by key."""
    windows: dict[str, Window] = g.setdefault("counted_windows", {})
    return windows


def _counted_by() -> str:
    client = caller()
    return client_address() if client.rate_limit is None else str(client.id)


@lru_cache(maxsize=1_000)
def is_readable(limit: str) -> bool:
    """Tell whether a stored limit can be used. Someone may have changed it in the database."""
    try:
        if limit == NONE:
            return True
        parsed = parse(limit)
        # The cache would refuse a window that is longer, and look as if it were broken.
        return parsed.amount > 0 and parsed.get_expiry() <= _LONGEST_WINDOW_S
    except ValueError as error:
        log.error("rate_limit_unreadable", exc_info=error)
        return False
