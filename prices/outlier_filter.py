"""Whether a price that is far from the last one is believed: not at once, but in the end.

A single wild price is more often a fault than a crash of the market. A crash stays, a fault
goes: so what is seen again and again, for a while and from each refresh to the next, is taken.
Otherwise the price would stand still for ever after a real jump.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from prices.decimals import is_within

SEEN_TIMES = 3
SEEN_FOR_S = 10.0
FORGOTTEN_AFTER_S = 60.0
"""A jump that was last seen so long ago says nothing about one that is seen now."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A jump that is not believed yet. Times in seconds on the clock of who remembers it."""

    price: Decimal
    times: int
    first_seen_s: float
    last_seen_s: float


def suspect(
    price: Decimal,
    *,
    last: Decimal | None,
    before: Suspicion | None,
    now_s: float,
    limit: Decimal,
) -> Suspicion | None:
    """Judge a new price: None when it is believed, otherwise what to remember until the next.

    last: the last price that was believed, if any is known; without one there is nothing to
    jump from. before: the suspicion after the refresh before this one.
    """
    if last is None or is_within(price, last, limit=limit):
        return None
    if before is None or not _continues(before, price, now_s=now_s, limit=limit):
        return Suspicion(price, times=1, first_seen_s=now_s, last_seen_s=now_s)
    again = Suspicion(price, before.times + 1, before.first_seen_s, now_s)
    believed = again.times >= SEEN_TIMES and now_s - again.first_seen_s >= SEEN_FOR_S
    return None if believed else again


def _continues(before: Suspicion, price: Decimal, *, now_s: float, limit: Decimal) -> bool:
    """Whether the price is the same jump as seen before, on a clock that was not turned back."""
    is_recent = 0 <= now_s - before.last_seen_s <= FORGOTTEN_AFTER_S
    return is_recent and is_within(price, before.price, limit=limit)
