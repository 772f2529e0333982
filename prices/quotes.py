"""What is known of a price, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

Source = Literal["live", "stale", "static"]

LIVE_FOR_S = 5.0
"""A price that is older is stale: it may still be shown, but it is no longer the market's."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A price as a store keeps it. Stamp and age are by that store's clock.

    The stamp is from before Binance was asked: a price is never younger than it says.
    """

    price: Decimal
    as_of: datetime
    age_s: float


@dataclass(frozen=True, slots=True)
class Quote:
    """The best price there is. A static one has neither time nor age: nobody ever offered it."""

    symbol: str
    price: Decimal
    source: Source
    as_of: datetime | None = None
    age_s: float | None = None
