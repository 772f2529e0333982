"""Cool-down: leaves a server alone for a while after a failure, so that callers do not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from resilience.forks import call_in_children

_NEVER_S = float("-inf")


class Cooldown:
    """Starts with a failure and lasts a fixed time. Threads may share it."""

    def __init__(self, lasts_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lasts_s = lasts_s
        self._clock = clock
        self._until_s = _NEVER_S
        self._make_lock()
        call_in_children(self._make_lock)

    def _make_lock(self) -> None:
        self._lock = threading.Lock()

    def allows(self) -> bool:
        """Whether the server may be called. After the cool-down, one caller may try it.

        The others follow once that caller has called `end`, or after another cool-down if it
        does not.
        """
        with self._lock:
            now_s = self._clock()
            if now_s < self._until_s:
                return False
            if self._until_s > _NEVER_S:
                self._until_s = now_s + self._lasts_s
            return True

    def start(self) -> None:
        """Start the cool-down: the server failed."""
        with self._lock:
            self._until_s = self._clock() + self._lasts_s

    def end(self) -> None:
        """End the cool-down: the server answered."""
        with self._lock:
            self._until_s = _NEVER_S
