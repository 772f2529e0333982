"""Our counters as a storage of the `limits` library, which Flask-Limiter counts with.

Its own Redis storage takes three round trips per request (count, look, look for the end);
this one remembers in the request what the first has said. It never raises, so that
Flask-Limiter's own fallback, which is neither bounded nor divided among processes, is not
needed.
"""

from __future__ import annotations

import time
from typing import Final

from flask import g
from limits.storage import Storage

from api.rate_counters import Counters, Window

SCHEME: Final = "truepenny"


class CountersStorage(Storage):
    """Fixed windows only. The library finds it by its scheme."""

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 - the library reads it off the class

    def __init__(self, uri: str, *, counters: Counters, wrap_exceptions: bool = False) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._counters = counters

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """Nothing that the library could wrap is raised here."""
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count a request. expiry: the length of the window in seconds."""
        if amount != 1:
            raise NotImplementedError("a request counts as one")
        window = self._counters.hit(key, expiry)
        _seen()[key] = window
        return window.count

    def get(self, key: str) -> int:
        """Return how many requests the window has seen."""
        return self._window(key).count

    def get_expiry(self, key: str) -> float:
        """Return when the window ends, as a POSIX time."""
        return time.time() + self._window(key).left_s

    def check(self) -> bool:
        """Say that it works, as it always does."""
        return True

    def reset(self) -> int | None:
        """Refuse: the cache holds more than counters."""
        raise NotImplementedError

    def clear(self, key: str) -> None:
        """Refuse: a counter goes when its window ends."""
        raise NotImplementedError

    def _window(self, key: str) -> Window:
        return _seen().get(key) or self._counters.look(key)


def _seen() -> dict[str, Window]:
    """The windows that this request has been counted in."""
    seen: dict[str, Window] = g.setdefault("windows_seen", {})
    return seen
