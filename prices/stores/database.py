"""Price table: the last known prices in PostgreSQL, used when the cache has none.

Guarantees that ages are by the database's clock, and that a price is never stored as younger than
it is, however long a statement takes. A row is only replaced by one that is some seconds newer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import Engine, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from ledger.postgres.database import autocommit, transaction
from ledger.postgres.schema import last_prices
from prices.quotes import StampedPrice

KEEP_EVERY_S = 10.0
"""Prices change with every refresh. Storing each of them would only load the disk."""
_AT_LEAST = timedelta(seconds=KEEP_EVERY_S - 1)


class PriceTable:
    """The table of last prices. Every method may raise ledger.errors.Unavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def entries(self) -> dict[str, StampedPrice]:
        """Return the prices by symbol, without rows from the future: their age is unknown."""
        table = last_prices
        age = func.extract("epoch", func.clock_timestamp() - table.c.as_of)
        query = select(table.c.symbol, table.c.price, table.c.as_of, age.label("age_s"))
        with autocommit(self._engine) as connection:
            rows = connection.execute(query).all()
        return {
            row.symbol: StampedPrice(row.price, row.as_of, float(row.age_s))
            for row in rows
            if row.age_s >= 0
        }

    def keep(self, prices: Mapping[str, Decimal], *, asked_at_s: float) -> None:
        """Store prices. asked_at_s: `time.monotonic()` before the request to Binance.

        A second call is harmless, also from another worker at the same time.
        """
        table, statement = last_prices, insert(last_prices)
        newer = statement.excluded.as_of >= table.c.as_of + _AT_LEAST
        from_the_future = (
            table.c.as_of > func.clock_timestamp()
        )  # the clock was set back since then
        upsert = statement.on_conflict_do_update(
            index_elements=[table.c.symbol],
            set_={"price": statement.excluded.price, "as_of": statement.excluded.as_of},
            where=or_(newer, from_the_future),
        )
        with transaction(self._engine) as connection:
            now = connection.execute(select(func.clock_timestamp())).scalar_one()
            # The age is measured after the answer: if that took long, the price counts as older.
            as_of = now - timedelta(seconds=time.monotonic() - asked_at_s)
            # Sorted: two workers then wait for each other's rows instead of deadlocking.
            rows = [
                {"symbol": symbol, "price": price, "as_of": as_of}
                for symbol, price in sorted(prices.items())
            ]
            connection.execute(upsert, rows)
