"""Ticker parser: turns the bytes of `/api/v3/ticker/bookTicker` into prices or rejections.

Guarantees that every price was asked for, is positive and finite, and lies between a bid and an
ask that are close together. One invalid ticker does not affect the others.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal

from prices.decimals import is_within, last_place, middle, parse_price

MAX_SPREAD = Decimal("0.1")
"""If bid and ask are further apart, their middle is not a price."""
_INVALID_SYMBOL = -1121
"""Error code of Binance for a symbol that it does not know."""


class GarbageError(Exception):
    """The whole answer is unusable."""


@dataclass(frozen=True, slots=True)
class Tickers:
    """The prices of an answer, and why others were refused, both by symbol."""

    prices: dict[str, Decimal] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    ticks: dict[str, Decimal] = field(default_factory=dict)
    """The smallest step of each price: the last digit that Binance writes."""


def read_tickers(body: bytes, symbols: Collection[str]) -> Tickers:
    """Read an answer. Symbols that are not in `symbols` are ignored.

    Raises: GarbageError: when the answer is not a JSON list of objects.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise GarbageError("not JSON") from error
    if not (isinstance(document, list) and all(isinstance(each, dict) for each in document)):
        raise GarbageError("not a list of tickers")
    by_symbol = {each["symbol"]: each for each in document if isinstance(each.get("symbol"), str)}
    tickers = Tickers()
    for symbol in symbols:
        ticker = by_symbol.get(symbol)
        if ticker is None:
            tickers.refused[symbol] = "missing"
            continue
        bid, ask = parse_price(ticker.get("bidPrice")), parse_price(ticker.get("askPrice"))
        if bid is None or ask is None:
            tickers.refused[symbol] = "not a price above zero"
        elif bid > ask or not is_within(ask, bid, limit=MAX_SPREAD, tick=last_place(bid)):
            tickers.refused[symbol] = "bid and ask do not fit together"
        else:
            tickers.prices[symbol] = middle(bid, ask)
            tickers.ticks[symbol] = last_place(bid)
    return tickers


def names_an_unknown_symbol(body: bytes) -> bool:
    """Whether this body of a 400 is Binance's error for an unknown symbol, not a proxy's answer."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("code") == _INVALID_SYMBOL
