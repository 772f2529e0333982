"""Prices while the real cache, database or both are killed, frozen or full."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import pytest
import redis
from sqlalchemy import Engine

from prices.lookup import PriceLookup
from prices.refresher import Refresher
from prices.stores.database import PriceTable
from testing.fakes.binance import FakeBinance, fake_binance
from testing.identity import KEY_PREFIX
from testing.price_setup import (
    SYMBOLS,
    frozen,
    full,
    killed,
    make_rows_older,
    price_lookup,
    refresher,
    sources,
)
from testing.servers.breakable import Breakable
from testing.worker_processes import eventually

pytestmark = pytest.mark.chaos

PAUSE = f"{KEY_PREFIX}binance:pause:all"
ANSWERED_WITHIN_S = 1.5  # half a second, and a busy machine
LOOKED_WITHIN_S = 8.0


@dataclass
class Scenario:
    """Servers of its own, a refresher as in a worker, and a price lookup as in the API."""

    cache: Breakable
    database: Breakable
    engine: Engine
    binance: FakeBinance
    worker: Refresher

    def price_lookup(self) -> PriceLookup:
        return price_lookup(self.cache.url, self.engine)

    def new_worker(self) -> Refresher:
        return refresher(self.cache.url, self.engine, self.binance.url)

    def pause_s(self) -> float:
        with closing(redis.Redis.from_url(self.cache.url)) as client:
            return client.pttl(PAUSE) / 1000


@pytest.fixture
def scenario(cache_and_database: tuple[Breakable, Breakable, Engine]) -> Iterator[Scenario]:
    """Start with everything working and the first refresh done."""
    cache, database, engine = cache_and_database
    with fake_binance() as binance:
        worker = refresher(cache.url, engine, binance.url)
        worker.refresh()
        yield Scenario(cache, database, engine, binance, worker)


FAULTS_OF_A_CACHE = [killed, frozen, full]
AWAY = [killed, frozen]


@pytest.mark.parametrize("fault", FAULTS_OF_A_CACHE)
def test_without_the_cache_prices_come_from_the_database_and_go_on_into_it(
    scenario: Scenario, fault: type
) -> None:
    make_rows_older(scenario.engine, by_s=60)
    before = PriceTable(scenario.engine).entries()
    with fault(scenario.cache):
        shown = scenario.price_lookup()
        begun_s = time.monotonic()
        quotes = shown.quotes()
        assert time.monotonic() - begun_s < ANSWERED_WITHIN_S
        assert [(quote.symbol, quote.source) for quote in quotes] == [
            (symbol, "stale") for symbol in SYMBOLS
        ]
        assert {quote.symbol: quote.price for quote in quotes} == {
            symbol: entry.price for symbol, entry in before.items()
        }
        begun_s = time.monotonic()
        looked = scenario.new_worker().refresh()
        assert list(looked.prices) == list(SYMBOLS)
        assert time.monotonic() - begun_s < LOOKED_WITHIN_S
        eventually(lambda: all((quote.age_s or 99) < 60 for quote in shown.quotes()))
    scenario.worker.refresh()
    eventually(lambda: sources(shown) == {"live"})


@pytest.mark.parametrize("fault", AWAY)
def test_a_ban_while_the_cache_is_away_is_obeyed_and_shared_later(
    scenario: Scenario, fault: type
) -> None:
    scenario.binance.fault("status", status=418, retry_after="600")
    with fault(scenario.cache):
        scenario.worker.refresh()
        scenario.binance.heal()
        asked = len(scenario.binance.asked())
        scenario.worker.refresh()
        assert len(scenario.binance.asked()) == asked
    eventually(lambda: not scenario.worker.refresh().elsewhere)
    assert scenario.pause_s() > 500
    scenario.new_worker().refresh()
    assert len(scenario.binance.asked()) == asked


@pytest.mark.parametrize("fault", AWAY)
def test_without_the_database_prices_stay_live_and_a_look_stays_short(
    scenario: Scenario, fault: type
) -> None:
    shown = scenario.price_lookup()
    with fault(scenario.database):
        worker = scenario.new_worker()
        for _ in range(2):
            begun_s = time.monotonic()
            assert list(worker.refresh().prices) == list(SYMBOLS)
            assert time.monotonic() - begun_s < LOOKED_WITHIN_S
        assert sources(shown) == {"live"}
        assert count("prices-archive") <= 1
    eventually(lambda: count("prices-archive") == 0)


@pytest.mark.parametrize("fault", AWAY)
def test_without_both_prices_are_static_at_once_for_all_who_ask(
    scenario: Scenario, fault: type
) -> None:
    with fault(scenario.cache, scenario.database):
        shown = scenario.price_lookup()

        def ask(_: int) -> float:
            begun_s = time.monotonic()
            quotes = shown.quotes()
            assert [quote.source for quote in quotes] == ["static"] * len(SYMBOLS)
            assert [(quote.as_of, quote.age_s) for quote in quotes] == [(None, None)] * len(SYMBOLS)
            return time.monotonic() - begun_s

        with ThreadPoolExecutor(20) as pool:
            assert max(pool.map(ask, range(200))) < ANSWERED_WITHIN_S
        assert count("prices-cache") <= 1
        assert count("prices-database") <= 1
        worker = scenario.new_worker()
        for _ in range(2):
            begun_s = time.monotonic()
            assert list(worker.refresh().prices) == list(SYMBOLS)
            assert time.monotonic() - begun_s < LOOKED_WITHIN_S
    eventually(lambda: sources(shown) == {"stale"} or sources(shown) == {"live"})
    scenario.new_worker().refresh()
    eventually(lambda: sources(shown) == {"live"})


def test_a_late_write_after_a_freeze_does_not_make_a_price_younger(
    scenario: Scenario,
) -> None:
    make_rows_older(scenario.engine, by_s=60)
    with frozen(scenario.database):
        scenario.new_worker().refresh()
        time.sleep(1.0)  # the waiting time of the statement counts as age
    eventually(lambda: count("prices-archive") == 0)
    ages_s = [entry.age_s for entry in PriceTable(scenario.engine).entries().values()]
    assert all(1.0 <= age_s < 60 for age_s in ages_s)


def count(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())
