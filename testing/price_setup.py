"""Price setup: real stores that tests may break, a refresher, and a price lookup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, text

from ledger.postgres.database import build_engine, transaction
from prices.lookup import PriceLookup, build_price_lookup
from prices.refresher import Refresher
from prices.stores.cache import PriceCache, connect
from prices.stores.database import PriceTable
from settings import FALLBACK_PRICES
from testing.identity import KEY_PREFIX
from testing.servers.breakable import Breakable, breakable
from testing.servers.databases import as_owner
from testing.servers.shared import migrate
from testing.servers.throwaway import throwaway_servers

SYMBOLS = ("BTCUSDT", "ETHUSDT")
FALLBACK = {"BTCUSDT": "60000", "ETHUSDT": "2500"}


def refresher(
    cache_url: str, engine: Engine, *urls: str, symbols: Sequence[str] = SYMBOLS
) -> Refresher:
    """Build a refresher as a worker process does."""
    return Refresher(
        symbols=symbols,
        urls=urls,
        jump_limit=Decimal("0.1"),
        cache=PriceCache(connect(cache_url, timeout_s=0.5), key_prefix=KEY_PREFIX),
        database=PriceTable(engine),
    )


def passing_refresher(cache_url: str, *urls: str, kept_s: int) -> Refresher:
    """Build a refresher as it is with a fake Binance: it keeps prices only for `kept_s`."""
    return Refresher(
        symbols=SYMBOLS,
        urls=urls,
        jump_limit=Decimal("0.1"),
        cache=PriceCache(connect(cache_url, timeout_s=0.5), key_prefix=KEY_PREFIX, kept_s=kept_s),
        database=None,
    )


def price_lookup(cache_url: str, engine: Engine) -> PriceLookup:
    """Build a price lookup as an API process does."""
    return build_price_lookup(
        symbols=SYMBOLS,
        fallback_prices=FALLBACK,
        cache_url=cache_url,
        key_prefix=KEY_PREFIX,
        engine=engine,
    )


def put_live_prices(cache_url: str) -> None:
    """Put the prices of the default symbols into the cache, as a refresh from Binance does."""
    shelf = PriceCache(connect(cache_url, timeout_s=5), key_prefix=KEY_PREFIX)
    turn = shelf.begin(tuple(FALLBACK_PRICES), ["all"])
    assert turn is not None
    prices = {symbol: Decimal(price) for symbol, price in FALLBACK_PRICES.items()}
    shelf.end(turn, prices=prices, suspicions={}, pauses={})


def sources(price_lookup: PriceLookup) -> set[str]:
    return {quote.source for quote in price_lookup.quotes()}


def make_rows_older(engine: Engine, *, by_s: int) -> None:
    """Move the last known prices back in time, as if they had been fetched earlier."""
    with transaction(engine) as connection:
        change = text("UPDATE last_prices SET as_of = as_of - make_interval(secs => :by_s)")
        connection.execute(change, {"by_s": by_s})


@pytest.fixture(scope="session")
def price_servers(servers_folder: Path) -> Iterator[tuple[Breakable, Breakable]]:
    """Start a cache and a migrated database that only price tests use, and may break."""
    folder = servers_folder / "prices"
    folder.mkdir(mode=0o711)
    servers = throwaway_servers(folder)
    with (
        breakable(servers.postgres(), folder / "postgres.log") as database,
        breakable(servers.cache(), folder / "cache.log") as cache,
    ):
        migrate(database.url)
        yield cache, database


@pytest.fixture
def cache_and_database(
    price_servers: tuple[Breakable, Breakable],
) -> Iterator[tuple[Breakable, Breakable, Engine]]:
    """Return these servers with no prices in them, and an engine for the database."""
    cache, database = price_servers
    engine = build_engine(database.url, application_name="test", pool_size=4)
    with as_owner(engine) as connection:
        connection.execute(text("DELETE FROM last_prices"))
    with closing(redis.Redis.from_url(cache.url)) as client:
        client.flushall()
    yield cache, database, engine
    engine.dispose()


@contextmanager
def frozen(*servers: Breakable) -> Iterator[None]:
    for server in servers:
        server.freeze()
    try:
        yield
    finally:
        for server in servers:
            server.thaw()


@contextmanager
def killed(*servers: Breakable) -> Iterator[None]:
    for server in servers:
        server.kill()
    try:
        yield
    finally:
        for server in servers:
            server.start()


@contextmanager
def full(cache: Breakable) -> Iterator[None]:
    """Make the cache evict all it has and take nothing new."""
    with closing(redis.Redis.from_url(cache.url)) as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", "64mb")
