"""Amounts: converts between decimal strings outside and integer minor units inside.

Guarantees that no amount ever passes through a float, or through `Decimal` with its
default context of 28 digits, which would round silently.
"""

from __future__ import annotations

import re

from ledger.errors import InvalidField

MAX_AMOUNT_MINOR = 10**30
"""The largest amount. NUMERIC(38,0) has room for 10^8 such transfers into one wallet."""

_MAX_TEXT_LENGTH = 64
_DECIMAL = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)


def parse_amount(text: str, *, scale: int, pointer: str = "/amount") -> int:
    """Return the minor units of a decimal string such as "12.50".

    scale: how many decimals the asset has.
    Returns: an integer from 1 to MAX_AMOUNT_MINOR, in minor units.
    Raises: InvalidField: when the text is not a plain positive decimal number (no sign,
    no exponent, no leading zeros), has more decimals than the asset, or is out of range.
    """
    match = _DECIMAL.fullmatch(text) if len(text) <= _MAX_TEXT_LENGTH else None
    if match is None:
        raise InvalidField(pointer, 'must be a plain decimal string such as "12.50"')
    whole, fraction = match.group(1), match.group(2) or ""
    if len(fraction) > scale:
        raise InvalidField(pointer, f"has more than {scale} decimals")
    amount_minor = int(whole + fraction.ljust(scale, "0"))
    if amount_minor == 0:
        raise InvalidField(pointer, "must be above zero")
    if amount_minor > MAX_AMOUNT_MINOR:
        raise InvalidField(pointer, "is too large")
    return amount_minor


def format_amount(amount_minor: int, *, scale: int) -> str:
    """Return minor units as a decimal string with all decimals of the scale: -5, 2 → "-0.05"."""
    digits = str(abs(amount_minor)).rjust(scale + 1, "0")
    sign = "-" if amount_minor < 0 else ""
    if scale == 0:
        return sign + digits
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"
