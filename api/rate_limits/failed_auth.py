"""Limits failed authentications per client address.

Guarantees that an address which tried too many bad keys causes no more queries, and that a key
which was good before still works: a client that shares an address with an attacker is not
locked out with it.
"""

from __future__ import annotations

import math
import threading
import time
from functools import partial
from typing import Final

from cachetools import TTLCache

from api.auth.key_ring import FindCredential
from api.rate_limits.client_ip import client_address
from api.rate_limits.counters import Counters
from api.rate_limits.rate_limit import RateLimit
from ledger.clients import hash_key
from ledger.keys.credentials import Found

KNOWN_FOR_S: Final = 86_400
"""How long a key counts as known after it was last found to be good."""
_MARK_AGAIN_AFTER_S: Final = 3_600
_MAX_KNOWN: Final = 10_000


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
        # Marks of good keys, each with the time at which it was last set for all processes.
        self._known: TTLCache[str, float] = TTLCache(_MAX_KNOWN, KNOWN_FOR_S)

    def guard(self, find: FindCredential) -> FindCredential:
        """Return a `find`, for use in a request, that runs only while the address may try.

        It raises: Problem rate_limited: when the address has used up its failures, unless
        the key was good before.
        """
        limit = self._limit
        if limit is None:
            return find

        def guarded(api_key: str) -> Found | None:
            # The cache gets the hash, as the database does, and never the key.
            mark = hash_key(api_key).hex()
            with self._lock:
                is_known = mark in self._known
            if not is_known:
                is_marked = partial(self._counters.is_marked, mark)
                limit.require_room(client_address(), unless=is_marked)
            found = find(api_key)
            self._remember(mark, good=found is not None)
            return found

        return guarded

    def count_failure(self) -> None:
        """Count a request that could not be authenticated.

        Raises: Problem rate_limited: when its address has used up its failures.
        """
        if self._limit is not None:
            self._limit.check(client_address())

    def _remember(self, mark: str, *, good: bool) -> None:
        with self._lock:
            if not good:
                self._known.pop(mark, None)  # revoked; the mark in the cache runs out by itself
                return
            marked_at_s = self._known.get(mark, -math.inf)
        now_s = time.monotonic()
        is_due = now_s - marked_at_s > _MARK_AGAIN_AFTER_S
        if is_due and self._counters.mark(mark, for_s=KNOWN_FOR_S):
            marked_at_s = now_s
        with self._lock:
            self._known[mark] = marked_at_s  # known for another day
