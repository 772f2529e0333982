"""Limits the transfers that a client stores: each newly stored item of a batch counts as one.

Guarantees that a request is let in as a whole or refused as a whole, before anything of it is
stored; that repeats are free; and that a process that dies in between has counted too much, not
too little. So items are counted when they come in, and what was not stored is given back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from limits import RateLimitItem, parse

from api.http.problems import Problem
from api.rate_limits.counters import TIMEOUT_S, Counters, Window
from api.rate_limits.headers import LimitStatus, rate_limited, report
from api.rate_limits.write_limit import NONE, is_readable
from ledger.clients import Client

_SCOPE: Final = "items"
_GIVEN_BACK_UNTIL_S: Final = 2 * TIMEOUT_S
"""How long before the end of its window a count is left as it is: in the next one, the same
number of items would count too little."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Items that were counted. ends_at_s: of their window, by the monotonic clock."""

    key: str
    items: int
    ends_at_s: float


class ItemLimit:
    """Counts the transfers that clients store. Safe to use from many threads."""

    def __init__(self, default: str, counters: Counters) -> None:
        """Take the limit of clients that have none of their own: "60000/minute", or "none"."""
        self.default = default
        self._counters = counters

    def require_possible(self, client: Client, items: int) -> None:
        """Refuse a batch that no window has room for.

        Raises: Problem too_large.
        """
        limit = self._limit_of(client)
        if limit is not None and items > limit.amount:
            report(_status(limit, self._counters.look(_key(limit, client))))
            raise Problem(
                "too_large",
                f"The batch has {items} transfers, and storing is limited to {limit}. "
                "Nothing was recorded; send smaller batches.",
            )

    def reserve(
        self, client: Client, items: int, *, count_new: Callable[[], int]
    ) -> Reservation | None:
        """Count the items of a request. Returns: None when nothing had to be counted.

        count_new: returns how many of them are not stored yet. It is called only when there is
        no room for all, as repeats are free.
        Raises: Problem rate_limited: when there is no room for those that are new.
        """
        limit = self._limit_of(client)
        if limit is None or not items:
            return None
        key, begun_s = _key(limit, client), time.monotonic()
        taken = self._counters.take(key, limit.get_expiry(), items=items, limit=limit.amount)
        if not taken.fits:
            items = count_new()
            if not items:
                return None
            taken = self._counters.take(key, limit.get_expiry(), items=items, limit=limit.amount)
        if not taken.fits:
            raise rate_limited(
                _status(limit, taken.window),
                f"Storing transfers is limited to {limit}, and this request has {items} that are "
                "new. Nothing was recorded.",
            )
        # From before the call: the window ends no earlier than that.
        return Reservation(key, items, begun_s + taken.window.left_s)

    def give_back(self, reservation: Reservation | None, *, stored: int) -> None:
        """Take back the count of the items that were not stored, if their window goes on."""
        if reservation is None or stored >= reservation.items:
            return
        if time.monotonic() < reservation.ends_at_s - _GIVEN_BACK_UNTIL_S:
            self._counters.give_back(reservation.key, reservation.items - stored)

    def _limit_of(self, client: Client) -> RateLimitItem | None:
        own = client.item_limit
        text = self.default if own is None or not is_readable(own) else own
        return None if text == NONE else _parsed(text)


_parsed = lru_cache(maxsize=1_000)(parse)


def _key(limit: RateLimitItem, client: Client) -> str:
    return limit.key_for(str(client.id), _SCOPE)


def _status(limit: RateLimitItem, window: Window) -> LimitStatus:
    remaining = max(0, limit.amount - window.count)
    return LimitStatus(limit.amount, remaining, int(time.time() + window.left_s) + 1)
