"""Prices while the cache, the database or both are killed, frozen or full: really so."""

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
from testing.fakes.binance import Remote, fake_binance
from testing.price_scene import (
    SYMBOLS,
    board,
    frozen,
    full,
    killed,
    make_rows_older,
    refresher,
    sources,
)
from testing.servers.breakable import Breakable
from testing.worker_processes import eventually

pytestmark = pytest.mark.chaos

PAUSE = "truepenny:binance:pause:all"
ANSWERED_WITHIN_S = 1.5  # half a second, and a busy machine
LOOKED_WITHIN_S = 8.0


@dataclass
class Scene:
    """Servers that nobody else uses, a worker's refresher and a new process of the API."""

    cache: Breakable
    database: Breakable
    engine: Engine
    binance: Remote
    worker: Refresher

    def board(self) -> PriceLookup:
        return board(self.cache.url, self.engine)

    def new_worker(self) -> Refresher:
        return refresher(self.cache.url, self.engine, self.binance.url)

    def pause_s(self) -> float:
        with closing(redis.Redis.from_url(self.cache.url)) as client:
            return client.pttl(PAUSE) / 1000


@pytest.fixture
def scene(cache_and_database: tuple[Breakable, Breakable, Engine]) -> Iterator[Scene]:
    """All is well, and a worker has taken its first look."""
    cache, database, engine = cache_and_database
    with fake_binance() as binance:
        worker = refresher(cache.url, engine, binance.url)
        worker.refresh()
        yield Scene(cache, database, engine, binance, worker)


FAULTS_OF_A_CACHE = [killed, frozen, full]
AWAY = [killed, frozen]


@pytest.mark.parametrize("fault", FAULTS_OF_A_CACHE)
def test_without_the_cache_prices_come_from_the_database_and_go_on_into_it(
    scene: Scene, fault: type
) -> None:
    make_rows_older(scene.engine, by_s=60)
    before = PriceTable(scene.engine).entries()
    with fault(scene.cache):
        shown = scene.board()
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
        looked = scene.new_worker().refresh()
        assert list(looked.prices) == list(SYMBOLS)
        assert time.monotonic() - begun_s < LOOKED_WITHIN_S
        eventually(lambda: all((quote.age_s or 99) < 60 for quote in shown.quotes()))
    scene.worker.refresh()
    eventually(lambda: sources(shown) == {"live"})


@pytest.mark.parametrize("fault", AWAY)
def test_a_ban_while_the_cache_is_away_is_heeded_and_shared_when_it_is_back(
    scene: Scene, fault: type
) -> None:
    scene.binance.fault("status", status=418, retry_after="600")
    with fault(scene.cache):
        scene.worker.refresh()
        scene.binance.heal()
        asked = len(scene.binance.asked())
        scene.worker.refresh()
        assert len(scene.binance.asked()) == asked
    eventually(lambda: not scene.worker.refresh().elsewhere)
    assert scene.pause_s() > 500
    scene.new_worker().refresh()
    assert len(scene.binance.asked()) == asked


@pytest.mark.parametrize("fault", AWAY)
def test_without_the_database_prices_stay_live_and_a_look_stays_short(
    scene: Scene, fault: type
) -> None:
    shown = scene.board()
    with fault(scene.database):
        worker = scene.new_worker()
        for _ in range(2):
            begun_s = time.monotonic()
            assert list(worker.refresh().prices) == list(SYMBOLS)
            assert time.monotonic() - begun_s < LOOKED_WITHIN_S
        assert sources(shown) == {"live"}
        assert count("prices-archive") <= 1
    eventually(lambda: count("prices-archive") == 0)


@pytest.mark.parametrize("fault", AWAY)
def test_without_both_prices_are_static_at_once_for_all_who_ask(scene: Scene, fault: type) -> None:
    with fault(scene.cache, scene.database):
        shown = scene.board()

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
        worker = scene.new_worker()
        for _ in range(2):
            begun_s = time.monotonic()
            assert list(worker.refresh().prices) == list(SYMBOLS)
            assert time.monotonic() - begun_s < LOOKED_WITHIN_S
    eventually(lambda: sources(shown) == {"stale"} or sources(shown) == {"live"})
    scene.new_worker().refresh()
    eventually(lambda: sources(shown) == {"live"})


def test_a_price_written_while_the_database_was_frozen_is_not_made_younger_by_that(
    scene: Scene,
) -> None:
    make_rows_older(scene.engine, by_s=60)
    with frozen(scene.database):
        scene.new_worker().refresh()
        time.sleep(1.0)  # what the statement waits counts as age
    eventually(lambda: count("prices-archive") == 0)
    ages_s = [entry.age_s for entry in PriceTable(scene.engine).entries().values()]
    assert all(1.0 <= age_s < 60 for age_s in ages_s)


def count(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())
