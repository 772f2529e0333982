"""The best price there is for each symbol: always an answer, always with its source and age.

Guarantees an answer within half a second, whatever hangs, and none that looks better than it
is: live only from the cache and only when young, stale from wherever a last one is known, and
static where nothing was ever heard. Trades must look at the source and the age.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial

from sqlalchemy import Engine

from prices.quotes import LIVE_FOR_S, Quote, Stamped
from prices.stores.cache import PriceCache, connect
from prices.stores.database import PriceTable
from prices.stores.guarded import GuardedStore

CACHE_PATIENCE_S = 0.2
ARCHIVE_PATIENCE_S = 0.25
"""Together they leave a little of the half second. Each is waited for once per outage, and then
by one reader a second."""


class PriceLookup:
    """Shared by all threads of a process."""

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        fallback_prices: Mapping[str, str],
        cache: GuardedStore,
        archive: GuardedStore,
    ) -> None:
        self._fallback = {symbol: Decimal(fallback_prices[symbol]) for symbol in symbols}
        self._cache = cache
        self._archive = archive

    def quotes(self) -> list[Quote]:
        """The price of every symbol, in their order."""
        return self._look(self._fallback)

    def quote(self, symbol: str) -> Quote | None:
        """The price of one symbol; None when it is not one that is followed."""
        return self._look([symbol])[0] if symbol in self._fallback else None

    def _look(self, symbols: Iterable[str]) -> list[Quote]:
        cached = self._cache.entries()
        quotes = {symbol: _live(symbol, cached.get(symbol)) for symbol in symbols}
        if None in quotes.values():
            archived = self._archive.entries()
            for symbol in (symbol for symbol, quote in quotes.items() if quote is None):
                quotes[symbol] = self._second_best(symbol, cached.get(symbol), archived.get(symbol))
        return [quote for quote in quotes.values() if quote is not None]

    def _second_best(self, symbol: str, *known: Stamped | None) -> Quote:
        """The youngest of what is known, or what the settings say."""
        found = [entry for entry in known if entry is not None]
        if not found:
            return Quote(symbol, self._fallback[symbol], "static")
        youngest = min(found, key=lambda entry: entry.age_s)
        return Quote(symbol, youngest.price, "stale", youngest.as_of, youngest.age_s)


def build_price_lookup(
    *,
    symbols: Sequence[str],
    fallback_prices: Mapping[str, str],
    cache_url: str,
    engine: Engine,
) -> PriceLookup:
    """Wire a board. Connects to nothing. engine: of its own, with one connection."""
    # The client gives up before the reader does: then no thread is left behind.
    shelf = PriceCache(connect(cache_url, timeout_s=CACHE_PATIENCE_S * 0.9))
    return PriceLookup(
        symbols=symbols,
        fallback_prices=fallback_prices,
        cache=GuardedStore(
            "cache",
            partial(shelf.entries, symbols),
            patience_s=CACHE_PATIENCE_S,
            fresh_for_s=0.1,
        ),
        archive=GuardedStore(
            "database",
            PriceTable(engine).entries,
            patience_s=ARCHIVE_PATIENCE_S,
            fresh_for_s=1.0,
        ),
    )


def _live(symbol: str, entry: Stamped | None) -> Quote | None:
    if entry is None or entry.age_s > LIVE_FOR_S:
        return None
    return Quote(symbol, entry.price, "live", entry.as_of, entry.age_s)
