"""How much may be told of one trouble, and of all together: the rest is counted.

Guarantees that thousands of failures with one cause become a few messages and a number.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

MAX_KEYS: Final = 500


@dataclass
class _Bucket:
    """Tokens that come back with time, and how many were wanted in vain since the last one."""

    burst: float
    per_minute: float
    tokens: float
    at_s: float
    refused: int = 0

    def take(self, now_s: float) -> bool:
        gained = (now_s - self.at_s) * self.per_minute / 60
        self.tokens = min(self.burst, self.tokens + gained)
        self.at_s = now_s
        if self.tokens < 1:
            self.refused += 1
            return False
        self.tokens -= 1
        return True


class EventQuota:
    """A bucket for each kind of trouble, and one for all."""

    def __init__(
        self,
        *,
        burst: int = 5,
        per_minute: float = 1,
        burst_of_all: int = 60,
        per_minute_of_all: float = 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._total = _Bucket(burst_of_all, per_minute_of_all, burst_of_all, clock())
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def spend(self, key: Hashable) -> int | None:
        """Ask to tell something of this kind.

        Returns: how many of the kind were not told since the last one that was; None when this
        one shall not be told either.
        """
        now_s = self._clock()
        with self._lock:
            bucket = self._bucket(key, now_s)
            if not bucket.take(now_s):
                return None
            if not self._total.take(now_s):
                bucket.refused += 1
                return None
            untold, bucket.refused = bucket.refused, 0
            return untold

    def _bucket(self, key: Hashable, now_s: float) -> _Bucket:
        found = self._buckets.get(key)
        if found is None:
            found = self._buckets[key] = _Bucket(self._burst, self._per_minute, self._burst, now_s)
            if len(self._buckets) > MAX_KEYS:
                self._buckets.popitem(last=False)  # the one that was quiet longest
        self._buckets.move_to_end(key)
        return found
