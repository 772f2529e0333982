"""What a refresh must know of those before it, and where that is remembered.

The workers share their notes in the cache (`prices.stores.cache`). Each also keeps them in its own
memory: a cache that is restarted or away must not make us ask a host that has banned us.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from prices.outlier_filter import Suspicion


@dataclass(slots=True)
class RefreshState:
    """Seconds are on the clock of who remembers; pauses are seconds that are left, by name."""

    now_s: float
    last: dict[str, Decimal] = field(default_factory=dict)
    suspicions: dict[str, Suspicion] = field(default_factory=dict)
    pauses: dict[str, float] = field(default_factory=dict)


class Memory:
    """The notes of this process, by a clock that nobody can turn back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, Decimal] = {}
        self._suspicions: dict[str, Suspicion] = {}
        self._until_s: dict[str, float] = {}

    def read(self) -> RefreshState:
        """Return what is remembered; pauses that are over are forgotten."""
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
        """Remember prices that were believed, in place of earlier ones; never shorten a pause.

        suspicions: all of them, on this clock; none where the cache remembers them.
        """
        now_s = self._clock()
        self._last.update(prices)
        self._suspicions = dict(suspicions)
        for name, left_s in pauses.items():
            self._until_s[name] = max(now_s + left_s, self._until_s.get(name, 0))
