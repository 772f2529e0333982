"""Strangers: failed authentication is counted by address, and too much of it is refused.

Guarantees that an address which tried too many bad keys costs the database nothing more,
and that a key which was good before is served all the same: whoever shares an address with
an attacker is not locked out with it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

from cachetools import TTLCache
from limits import RateLimitItem, parse

from api.client_addresses import client_address
from api.problems import Problem
from api.rate_answers import Standing, rate_limited, tell
from api.rate_counters import Counters, Window
from ledger.clients import Client, hash_key

KNOWN_FOR_S: Final = 86_400
"""How long a key counts as known after it was last found to be good."""
_SAY_AGAIN_AFTER_S: Final = 3_600
_MAX_KNOWN: Final = 10_000

Find = Callable[[str], Client | None]


class Strangers:
    """Counts failed authentication."""

    def __init__(self, limit: str, counters: Counters) -> None:
        """Take how many failures an address may make: "10/minute", or "none"."""
        self._limit = None if limit == "none" else parse(limit)
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
            self._check(limit, mark)
            client = find(api_key)
            self._remember(mark, good=client is not None)
            return client

        return guarded

    def count_failure(self) -> None:
        """Count a request that could not say who it is from.

        Raises: Problem rate_limited: when its address has used up its failures.
        """
        limit = self._limit
        if limit is None:
            return
        window = self._counters.hit(_key(limit), limit.get_expiry())
        if window.count > limit.amount:
            raise _refusal(limit, window)
        tell(_standing(limit, window))

    def _check(self, limit: RateLimitItem, mark: str) -> None:
        if self._is_known(mark):
            return
        window = self._counters.look(_key(limit))
        if window.count >= limit.amount and not self._counters.is_marked(mark):
            raise _refusal(limit, window)

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


def _key(limit: RateLimitItem) -> str:
    return limit.key_for(client_address(), "failures")


def _refusal(limit: RateLimitItem, window: Window) -> Problem:
    detail = f"Failed authentications from one address are limited to {limit}."
    return rate_limited(_standing(limit, window), detail)


def _standing(limit: RateLimitItem, window: Window) -> Standing:
    remaining = max(0, limit.amount - window.count)
    return Standing(limit.amount, remaining, int(time.time() + window.left_s) + 1)
