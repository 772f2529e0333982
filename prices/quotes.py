"""Price data: a stored price, and the quote that is shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

Source = Literal["live", "stale", "static"]

LIVE_FOR_S = 5.0
"""An older price is stale: it may be shown, but is no longer the price of the market."""


@dataclass(frozen=True, slots=True)
class StampedPrice:
    """A price as a store keeps it. Time and age are by that store's clock.

    `as_of` is from before the request to Binance: a price is never younger than it claims.
    """

    price: Decimal
    as_of: datetime
    age_s: float


@dataclass(frozen=True, slots=True)
class Quote:
    """The best price available. A static one comes from the settings and has no time and no age."""

    symbol: str
    price: Decimal
    source: Source
    as_of: datetime | None = None
    age_s: float | None = None
