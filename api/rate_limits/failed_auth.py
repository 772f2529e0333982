"""Limits failed authentications per client address.

Guarantees that an address which tried too many bad keys costs the database nothing more,
and that a key which was good before is served all the same: a client that shares an address
with an attacker is not locked out with it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from cachetools import TTLCache

from api.rate_limits.client_ip import client_address
from api.rate_limits.counters import Counters
from api.rate_limits.rate_limit import RateLimit
from ledger.clients import Client, hash_key

KNOWN_FOR_S: Final = 86_400
"""How long a key counts as known after it was last found to be good."""
_SAY_AGAIN_AFTER_S: Final = 3_600
_MAX_KNOWN: Final = 10_000

Find = Callable[[str], Client | None]


class FailedAuthLimit:
    """Counts failed authentications, and remembers which keys were good."""

    def __init__(self, limit: str, counters: Counters) -> None:
        """Take how many failures an address may make: "10/minute", or "none"."""
        self._limit = None
        if limit != "none":
            self._limit = RateLimit(
                limit,
                counters,
                scope="failures",
                what="Failed authentications from one address are",
            )
        self._counters = counters
        self._lock = threading.Lock()
        # Marks of good keys, each with the time at which the other processes were told.
        self._known: TTLCache[str, float] = TTLCache(_MAX_KNOWN, KNOWN_FOR_S)

    def guard(self, find: Find) -> Find:
        """Return a `find`, for use in a request, that looks only if its sender may still try.

        It raises: Problem rate_limited: when the address has used up its failures, unless
        the key was good before.
        """
        limit = self._limit
        if limit is None:
            return find

        def guarded(api_key: str) -> Client | None:
            # The database holds the same hash: the cache learns nothing that opens a door.
            mark = hash_key(api_key).hex()
            if not self._is_known(mark):
                is_marked = partial(self._counters.is_marked, mark)
                limit.require_room(client_address(), unless=is_marked)
            client = find(api_key)
            self._remember(mark, good=client is not None)
            return client

        return guarded

    def count_failure(self) -> None:
        """Count a request whose sender could not be authenticated.

        Raises: Problem rate_limited: when its address has used up its failures.
        """
        if self._limit is not None:
            self._limit.check(client_address())

    def _is_known(self, mark: str) -> bool:
        with self._lock:
            return mark in self._known

    def _remember(self, mark: str, *, good: bool) -> None:
        with self._lock:
            if not good:
                self._known.pop(mark, None)  # revoked; what the others were told runs out
                return
            told_at_s = self._known.get(mark, -math.inf)
        now_s = time.monotonic()
        if now_s - told_at_s > _SAY_AGAIN_AFTER_S and self._counters.mark(mark, for_s=KNOWN_FOR_S):
            told_at_s = now_s
        with self._lock:
            self._known[mark] = told_at_s  # known for another day
