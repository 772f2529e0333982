"""Outlier filter: holds back a price that jumped until several refreshes in a row confirm it.

A single outlier is more often an error than a crash of the market. A crash lasts, an error does
not: so a jump that every refresh repeats for a while is accepted. Otherwise the price would never
change again after a real jump.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from prices.decimals import is_within

SEEN_TIMES = 3
SEEN_FOR_S = 10.0
FORGOTTEN_AFTER_S = 60.0
"""A jump that was last seen longer ago is not counted as the same jump."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A jump that is not accepted yet. Times are seconds on the clock of its store."""

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
    tick: Decimal = Decimal(0),
) -> Suspicion | None:
    """Check a new price. Returns: None if it is accepted, else the suspicion to keep.

    last: the last accepted price; None if none is known: the new one is then accepted.
    before: the suspicion that the refresh before this one kept.
    tick: the smallest step of the price.
    """
    if last is None or is_within(price, last, limit=limit, tick=tick):
        return None
    # The same jump as before, and on a clock that was not set back.
    is_repeated = (
        before is not None
        and 0 <= now_s - before.last_seen_s <= FORGOTTEN_AFTER_S
        and is_within(price, before.price, limit=limit, tick=tick)
    )
    if before is None or not is_repeated:
        return Suspicion(price, times=1, first_seen_s=now_s, last_seen_s=now_s)
    again = Suspicion(price, before.times + 1, before.first_seen_s, now_s)
    is_confirmed = again.times >= SEEN_TIMES and now_s - again.first_seen_s >= SEEN_FOR_S
    return None if is_confirmed else again
