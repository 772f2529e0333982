"""Exact arithmetic on prices: raises instead of rounding, and never uses a float."""

from __future__ import annotations

import re
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

_EXACT = Context(prec=120, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
"""Wide enough for a product of two prices; a longer result raises instead of being rounded."""
MAX_DECIMALS = 18
_TICKS = 3
"""How many ticks a price may differ where that is more than the limit."""
_PRICE = re.compile(r"[0-9]{1,18}(?:\.([0-9]{1,30}))?", re.ASCII)


def parse_price(text: object, *, decimals: int = MAX_DECIMALS) -> Decimal | None:
    """Read a plain decimal above zero, such as "64250.01"; None when it is anything else."""
    found = _PRICE.fullmatch(text) if isinstance(text, str) else None
    if found is None or len(found[1] or "") > decimals:
        return None
    price = Decimal(found[0])
    return price if price > 0 else None


def middle(bid: Decimal, ask: Decimal) -> Decimal:
    """Return the exact middle price, which has at most one decimal place more."""
    return _EXACT.divide(_EXACT.add(bid, ask), Decimal(2))


def is_within(
    price: Decimal, reference: Decimal, *, limit: Decimal, tick: Decimal = Decimal(0)
) -> bool:
    """Whether `price` differs from `reference` by at most this share of it (0.1: a tenth).

    tick: the smallest step of the price. A few of them are allowed in any case: a price of five
    ticks cannot move by less than a fifth.
    """
    difference = abs(_EXACT.subtract(price, reference))
    return difference <= max(_EXACT.multiply(reference, limit), _EXACT.multiply(tick, _TICKS))


def last_place(price: Decimal) -> Decimal:
    """Return the value of the last digit, as the price was written: 0.01 of 1.50."""
    return Decimal((0, (1,), int(price.as_tuple().exponent)))


def plain(price: Decimal) -> str:
    """Print a price without exponent and without trailing zeros: "60000", "1.085"."""
    return format(price.normalize(_EXACT), "f")
