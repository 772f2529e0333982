"""Price lookup: the best price of each symbol now, always with its source and age.

Guarantees an answer within half a second, even if a store hangs, and a correct label: "live" is
a young price of the cache, "stale" the last known price of any store, and "static" the price of
the settings, used until a first price has been received. Trades must check source and age.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from functools import partial

from sqlalchemy import Engine

from prices.quotes import LIVE_FOR_S, Quote, Source
from prices.stores.cache import PriceCache, connect
from prices.stores.database import PriceTable
from prices.stores.guarded import GuardedStore

CACHE_PATIENCE_S = 0.2
DATABASE_PATIENCE_S = 0.25
"""Together less than the half second. Once a store is known to be away, only one reader a second
waits for it."""


class PriceLookup:
    """Looks prices up in the cache, then the database, then the settings. Threads may share it."""

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        fallback_prices: Mapping[str, str],
        cache: GuardedStore,
        database: GuardedStore,
    ) -> None:
        self._fallback = {symbol: Decimal(fallback_prices[symbol]) for symbol in symbols}
        self._cache = cache
        self._database = database

    def quotes(self) -> list[Quote]:
        """Return the price of every symbol, in their order; none if prices are off."""
        return self._quote_all(self._fallback) if self._fallback else []

    def quote(self, symbol: str) -> Quote | None:
        """Return the price of one symbol; None if its prices are not followed."""
        return self._quote_all([symbol])[0] if symbol in self._fallback else None

    def _quote_all(self, symbols: Collection[str]) -> list[Quote]:
        cached = self._cache.entries()
        fresh = {symbol: entry for symbol, entry in cached.items() if entry.age_s <= LIVE_FOR_S}
        # The database is asked only if a price is missing.
        stored = self._database.entries() if any(each not in fresh for each in symbols) else {}
        quotes = []
        for symbol in symbols:
            known = [store[symbol] for store in (cached, stored) if symbol in store]
            if not known:
                quotes.append(Quote(symbol, self._fallback[symbol], "static"))
                continue
            entry = fresh.get(symbol) or min(known, key=lambda entry: entry.age_s)
            source: Source = "live" if symbol in fresh else "stale"
            quotes.append(Quote(symbol, entry.price, source, entry.as_of, entry.age_s))
        return quotes


def build_price_lookup(
    *,
    symbols: Sequence[str],
    fallback_prices: Mapping[str, str],
    cache_url: str,
    key_prefix: str,
    engine: Engine,
) -> PriceLookup:
    """Build the lookup of a process. It connects on first use.

    engine: used for this alone, with one connection.
    """
    # The client gives up before the reader does, so that no thread is left behind.
    client = connect(cache_url, timeout_s=CACHE_PATIENCE_S * 0.9)
    price_cache = PriceCache(client, key_prefix=key_prefix)
    return PriceLookup(
        symbols=symbols,
        fallback_prices=fallback_prices,
        cache=GuardedStore(
            "cache",
            partial(price_cache.entries, symbols),
            patience_s=CACHE_PATIENCE_S,
            fresh_for_s=0.1,
        ),
        database=GuardedStore(
            "database",
            PriceTable(engine).entries,
            patience_s=DATABASE_PATIENCE_S,
            fresh_for_s=1.0,
        ),
    )
