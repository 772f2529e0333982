"""Leaving a server alone for a while after it failed, so that not everybody waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Rest:
    """Begins with a failure and lasts a fixed time. Safe to use from many threads."""

    def __init__(self, lasts_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lasts_s = lasts_s
        self._clock = clock
        self._lock = threading.Lock()
        self._until_s = float("-inf")

    def allows(self) -> bool:
        """Whether the server may be asked. After a rest, one caller is let through to try it.

        The others are let through as well once that one has been, unless it began a new rest.
        """
        with self._lock:
            now_s = self._clock()
            if now_s < self._until_s:
                return False
            if self._until_s > float("-inf"):
                self._until_s = now_s + self._lasts_s  # until this caller has told
            return True

    def begin(self) -> None:
        """Say that the server failed."""
        with self._lock:
            self._until_s = self._clock() + self._lasts_s

    def end(self) -> None:
        """Say that the server answered."""
        self._until_s = float("-inf")
