"""Refresh state: what a refresh knows of those before it, kept in the memory of a process.

The workers share this state in the cache (`prices.stores.cache`). Each also keeps its own copy: a
cache that was restarted or is away must not make us ask a host that has banned us.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from prices.outlier_filter import Suspicion


@dataclass(slots=True)
class RefreshState:
    """Last prices and suspicions by symbol; pauses as the seconds that are left, by name.

    now_s: on the clock of the store that keeps the state; the suspicions use the same clock.
    """

    now_s: float
    last: dict[str, Decimal] = field(default_factory=dict)
    suspicions: dict[str, Suspicion] = field(default_factory=dict)
    pauses: dict[str, float] = field(default_factory=dict)


class Memory:
    """The state of this process, on a clock that cannot be set back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, Decimal] = {}
        self._suspicions: dict[str, Suspicion] = {}
        self._until_s: dict[str, float] = {}

    def read(self) -> RefreshState:
        """Return the state, without pauses that are over."""
        now_s = self._clock()
        self._until_s = {name: until for name, until in self._until_s.items() if until > now_s}
        pauses = {name: until - now_s for name, until in self._until_s.items()}
        return RefreshState(now_s, dict(self._last), dict(self._suspicions), pauses)

    def write(
        self,
        *,
        prices: Mapping[str, Decimal],
        suspicions: Mapping[str, Suspicion],
        pauses: Mapping[str, float],
    ) -> None:
        """Keep accepted prices in place of earlier ones, and pauses unless a longer one exists.

        suspicions: all, on this clock; none where the cache keeps them.
        """
        now_s = self._clock()
        self._last.update(prices)
        self._suspicions = dict(suspicions)
        for name, left_s in pauses.items():
            self._until_s[name] = max(now_s + left_s, self._until_s.get(name, 0))
