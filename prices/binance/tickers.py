"""The bytes of `/api/v3/ticker/bookTicker` into prices, or the reason why not.

Guarantees that a price that leaves here was asked for, is positive and finite, and lies between
a bid and an ask that are not far apart. One bad ticker spoils no other.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from prices.decimals import is_within, middle, parse_price

MAX_SPREAD = Decimal("0.1")
"""Of a book whose sides are further apart, the middle says nothing."""


_INVALID_SYMBOL = -1121


class GarbageError(Exception):
    """The answer as a whole is not what was asked for."""


@dataclass(frozen=True, slots=True)
class Tickers:
    """The prices of an answer, and why others were refused, each by symbol."""

    prices: dict[str, Decimal] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def read_tickers(body: bytes, symbols: Collection[str]) -> Tickers:
    """Read an answer. Symbols that nobody asked for are left out.

    Raises: GarbageError: when it is not a JSON list of objects.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise GarbageError("not JSON") from error
    if not (isinstance(document, list) and all(isinstance(each, dict) for each in document)):
        raise GarbageError("not a list of tickers")
    by_symbol = {each.get("symbol"): each for each in document if _is_text(each.get("symbol"))}
    tickers = Tickers()
    for symbol in symbols:
        _read_one(tickers, symbol, by_symbol.get(symbol))
    return tickers


def names_an_unknown_symbol(body: bytes) -> bool:
    """Whether Binance says so of what it was asked for. Anybody on the way may answer 400 too."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("code") == _INVALID_SYMBOL


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _read_one(tickers: Tickers, symbol: str, ticker: dict[str, Any] | None) -> None:
    if ticker is None:
        tickers.refused[symbol] = "missing"
        return
    bid, ask = parse_price(ticker.get("bidPrice")), parse_price(ticker.get("askPrice"))
    if bid is None or ask is None:
        tickers.refused[symbol] = "not a price above zero"
    elif bid > ask or not is_within(ask, bid, limit=MAX_SPREAD):
        tickers.refused[symbol] = "bid and ask do not fit together"
    else:
        tickers.prices[symbol] = middle(bid, ask)
