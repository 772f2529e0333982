"""Amounts of money: decimals that are sent exactly as they were given."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

_MAX_DIGITS = 60


def amount_text(amount: Decimal | int | str) -> str:
    """Return an amount as plain decimal text, with all its digits.

    Raises: TypeError: for a float, which is not exact, and for anything that is no number.
    ValueError: when it is not finite, or has more digits than any asset.
    """
    if isinstance(amount, bool) or not isinstance(amount, (Decimal, int, str)):
        raise TypeError(
            f"an amount is a Decimal (or an int, or a str), not {type(amount).__name__}: "
            'write Decimal("1.10")'
        )
    try:
        exact = Decimal(amount)
    except (InvalidOperation, ValueError) as error:
        raise ValueError(f"{amount!r:.80} is not an amount") from error
    # Checked before it is printed: Decimal("1E+999999999") is small, its text is not.
    if not exact.is_finite() or abs(exact.adjusted()) > _MAX_DIGITS or _places(exact) > _MAX_DIGITS:
        raise ValueError(f"{amount!r:.80} is not an amount")
    return f"{exact:f}"


def _places(exact: Decimal) -> int:
    exponent = exact.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else _MAX_DIGITS + 1
