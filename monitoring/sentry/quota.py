"""Event quota: limits the events of one kind and of all kinds together, and counts the rest.

Guarantees that thousands of failures with one cause become a few events and a number.
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
    """A token bucket that also counts the requests refused since the last token."""

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
    """A token bucket for each kind of event, and one for all together."""

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
        """Take a token for an event of this kind.

        Returns: how many of the kind were dropped since the last that was sent; None if this one
        must be dropped too.
        """
        now_s = self._clock()
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = _Bucket(self._burst, self._per_minute, self._burst, now_s)
                self._buckets[key] = bucket
                if len(self._buckets) > MAX_KEYS:
                    self._buckets.popitem(last=False)  # the one without an event for longest
            self._buckets.move_to_end(key)
            if not bucket.take(now_s):
                return None
            if not self._total.take(now_s):
                bucket.refused += 1
                return None
            dropped, bucket.refused = bucket.refused, 0
            return dropped
