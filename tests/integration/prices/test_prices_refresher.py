"""Price refresher as in a worker, on a real cache and a real database."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest
import redis
from sqlalchemy import Engine, text

from ledger.postgres.database import autocommit, build_engine
from prices.outlier_filter import SEEN_FOR_S
from prices.stores.cache import PriceCache, connect
from prices.stores.database import PriceTable
from tasks.prices import refresh
from testing.fakes.binance import FakeBinance, fake_binance
from testing.identity import IDENTITY, KEY_PREFIX
from testing.price_setup import (
    SYMBOLS,
    make_rows_older,
    passing_refresher,
    price_lookup,
    refresher,
    sources,
)
from testing.servers.databases import as_owner, copied_database
from testing.thread_limit import no_new_threads

PAUSE = f"{KEY_PREFIX}binance:pause:"
SUSPICIONS = f"{KEY_PREFIX}prices:suspicions"
TURN = f"{KEY_PREFIX}prices:turn"


@pytest.fixture
def cache(cache_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(cache_url, decode_responses=True)
    client.flushdb()
    yield client
    client.close()


@pytest.fixture(scope="module")
def module_engine(template_url: str) -> Iterator[Engine]:
    with copied_database(template_url) as url:
        engine = build_engine(url, application_name="test")
        yield engine
        engine.dispose()


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    """Return a database without prices."""
    with as_owner(module_engine) as connection:
        connection.execute(text("DELETE FROM last_prices"))
    return module_engine


@pytest.fixture
def binance() -> Iterator[FakeBinance]:
    with fake_binance() as remote:
        yield remote


@pytest.fixture
def shelf(cache_url: str) -> PriceCache:
    return PriceCache(connect(cache_url, timeout_s=5), key_prefix=KEY_PREFIX)


def test_a_refresh_writes_prices_to_the_cache_and_the_database(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    shown = price_lookup(cache_url, engine)
    assert sources(shown) == {"static"}
    looked = refresher(cache_url, engine, binance.url).refresh()
    assert looked.prices == {"BTCUSDT": Decimal("64250.015"), "ETHUSDT": Decimal("2650.15")}
    [bitcoin, ether] = price_lookup(cache_url, engine).quotes()
    assert (bitcoin.symbol, bitcoin.price, bitcoin.source) == (
        "BTCUSDT",
        Decimal("64250.015"),
        "live",
    )
    assert bitcoin.as_of is not None
    assert bitcoin.age_s is not None
    assert bitcoin.age_s >= 0
    assert ether.source == "live"
    kept = PriceTable(engine).entries()
    assert {symbol: entry.price for symbol, entry in kept.items()} == looked.prices
    assert cache.exists(TURN) == 0


def test_a_price_is_stale_after_five_seconds_and_says_how_old_it_is(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    refresher(cache_url, engine, binance.url).refresh()
    make_older(cache, "BTCUSDT", by_s=5)
    quotes = {quote.symbol: quote for quote in price_lookup(cache_url, engine).quotes()}
    assert quotes["ETHUSDT"].source == "live"
    assert quotes["BTCUSDT"].source == "stale"
    assert quotes["BTCUSDT"].price == Decimal("64250.015")


def test_of_two_last_known_prices_the_younger_is_shown(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    refresher(cache_url, engine, binance.url).refresh()
    make_rows_older(engine, by_s=60)
    make_older(cache, "BTCUSDT", by_s=30)
    make_older(cache, "ETHUSDT", by_s=90)
    quotes = {quote.symbol: quote for quote in price_lookup(cache_url, engine).quotes()}
    assert 30 <= (quotes["BTCUSDT"].age_s or 0) < 60 <= (quotes["ETHUSDT"].age_s or 0) < 90


def test_an_evicted_price_comes_from_the_database(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    refresher(cache_url, engine, binance.url).refresh()
    cache.delete(f"{KEY_PREFIX}price:BTCUSDT")
    found = {quote.symbol: quote.source for quote in price_lookup(cache_url, engine).quotes()}
    assert found == {"BTCUSDT": "stale", "ETHUSDT": "live"}


@pytest.mark.parametrize("text", ["", "x", "1", "1 x", "0 1", "NaN 1", "1 99999999999999999"])
def test_an_entry_that_is_no_price_or_from_the_future_counts_as_none(
    cache: redis.Redis, cache_url: str, engine: Engine, text: str
) -> None:
    cache.set(f"{KEY_PREFIX}price:BTCUSDT", text)
    assert sources(price_lookup(cache_url, engine)) == {"static"}


def test_an_entry_and_a_row_from_before_a_clock_was_set_back_are_replaced(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    refresher(cache_url, engine, binance.url).refresh()
    for symbol in SYMBOLS:
        make_older(cache, symbol, by_s=-3600)
    make_rows_older(engine, by_s=-3600)
    assert PriceTable(engine).entries() == {}
    refresher(cache_url, engine, binance.url).refresh()
    assert sources(price_lookup(cache_url, engine)) == {"live"}
    assert len(PriceTable(engine).entries()) == len(SYMBOLS)


def test_a_write_that_arrives_late_neither_makes_a_price_younger_nor_replaces_a_newer(
    cache: redis.Redis, shelf: PriceCache
) -> None:
    late = shelf.begin(SYMBOLS, ["all"])
    assert late is not None
    cache.delete(TURN)  # it took longer than a turn lasts
    time.sleep(0.05)
    turn = shelf.begin(SYMBOLS, ["all"])
    assert turn is not None
    shelf.end(turn, prices={"BTCUSDT": Decimal(2)}, suspicions={}, pauses={})
    shelf.end(late, prices={"BTCUSDT": Decimal(1), "ETHUSDT": Decimal(1)}, suspicions={}, pauses={})
    entries = shelf.entries(SYMBOLS)
    assert entries["BTCUSDT"].price == Decimal(2)
    assert entries["ETHUSDT"].age_s >= 0.05


@pytest.mark.usefixtures("cache")
def test_a_refresh_without_a_thread_brings_no_prices_and_the_next_one_does(
    cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    refreshes = refresher(cache_url, engine, binance.url)
    with no_new_threads():
        looked = refreshes.refresh()
    assert looked.prices == {}
    assert "no thread" in looked.failures[binance.url]
    assert refreshes.refresh().prices.keys() == set(SYMBOLS)


@pytest.mark.usefixtures("cache")
def test_the_database_gets_prices_at_most_every_ten_seconds_from_all_workers_together(
    cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    first, second = (refresher(cache_url, engine, binance.url) for _ in range(2))
    first.refresh()
    written = row_versions(engine)
    for each in (first, second, first, second):
        each.refresh()
    assert row_versions(engine) == written
    make_rows_older(engine, by_s=20)
    refresher(cache_url, engine, binance.url).refresh()
    assert PriceTable(engine).entries()["BTCUSDT"].age_s < 20


def test_only_one_refresh_runs_at_a_time(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    cache.set(TURN, "somebody else", px=60_000)
    assert refresher(cache_url, engine, binance.url).refresh().elsewhere
    assert binance.asked() == []
    assert cache.get(TURN) == "somebody else"


def test_a_turn_that_another_worker_has_taken_over_is_not_released(
    cache: redis.Redis, shelf: PriceCache
) -> None:
    turn = shelf.begin(SYMBOLS, ["all"])
    assert turn is not None
    cache.set(TURN, "somebody else")
    shelf.end(turn, prices={}, suspicions={}, pauses={})
    assert cache.get(TURN) == "somebody else"
    assert shelf.begin(SYMBOLS, ["all"]) is None


def test_a_turn_whose_owner_died_ends_by_itself(cache: redis.Redis, shelf: PriceCache) -> None:
    shelf.begin(SYMBOLS, ["all"])
    assert 0 < cache.pttl(TURN) <= 4_000


def test_a_pause_holds_in_every_worker_and_in_one_that_starts_later(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    binance.fault("status", status=418, retry_after="3600")
    refresher(cache_url, engine, binance.url).refresh()
    binance.heal()
    for _ in range(3):
        looked = refresher(cache_url, engine, binance.url).refresh()
        assert "paused" in looked.failures["all"]
    assert len(binance.asked()) == 1
    assert 3_590_000 < cache.pttl(f"{PAUSE}all") <= 3_600_001


def test_a_pause_outlives_the_cache_and_is_shared_again(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    binance.fault("status", status=429, retry_after="600")
    banned = refresher(cache_url, engine, binance.url)
    banned.refresh()
    binance.heal()
    cache.flushdb()
    banned.refresh()
    assert len(binance.asked()) == 1
    assert cache.pttl(f"{PAUSE}all") > 500_000
    refresher(cache_url, engine, binance.url).refresh()
    assert len(binance.asked()) == 1


def test_a_pause_that_was_seen_in_the_cache_outlives_it_too(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    cache.set(f"{PAUSE}all", 1, ex=600)
    seen = refresher(cache_url, engine, binance.url)
    seen.refresh()
    cache.flushdb()
    seen.refresh()
    assert binance.asked() == []


def test_a_pause_is_never_shortened(cache: redis.Redis, shelf: PriceCache) -> None:
    for left_s in (600, 5):
        turn = shelf.begin(SYMBOLS, ["all"])
        assert turn is not None
        shelf.end(turn, prices={}, suspicions={}, pauses={"all": left_s})
    assert cache.pttl(f"{PAUSE}all") > 500_000


def test_a_jump_is_refused_said_once_and_believed_when_it_stays(
    cache: redis.Redis,
    cache_url: str,
    engine: Engine,
    binance: FakeBinance,
    caplog: pytest.LogCaptureFixture,
) -> None:
    workers = [refresher(cache_url, engine, binance.url) for _ in range(2)]
    workers[0].refresh()
    binance.price("BTCUSDT", "50000")
    for worker in workers:
        looked = worker.refresh()
        assert looked.refused == {"BTCUSDT": "jumped to 50000"}
        assert list(looked.prices) == ["ETHUSDT"]
    assert quoted(cache_url, engine) == Decimal("64250.015")
    workers[0].refresh()
    said = [record for record in caplog.records if record.message == "price_refused"]
    assert len(said) == len(workers)

    make_suspicion_older(cache, by_s=SEEN_FOR_S)
    assert workers[1].refresh().prices["BTCUSDT"] == Decimal(50_000)
    assert quoted(cache_url, engine) == Decimal(50_000)
    assert cache.exists(SUSPICIONS) == 0


def test_a_jump_that_another_worker_saw_end_starts_again(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    first, second = (refresher(cache_url, engine, binance.url) for _ in range(2))
    first.refresh()
    for _ in range(2):
        binance.price("BTCUSDT", "50000")
        first.refresh()
        first.refresh()
        make_suspicion_older(cache, by_s=SEEN_FOR_S)
        binance.price("BTCUSDT", "64250")
        second.refresh()
    binance.price("BTCUSDT", "50000")
    assert first.refresh().refused
    assert quoted(cache_url, engine) == Decimal(64_250)


def test_a_jump_is_held_against_what_was_believed_before_the_cache_was_emptied(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    worker = refresher(cache_url, engine, binance.url)
    worker.refresh()
    cache.flushdb()
    binance.price("BTCUSDT", "1")
    assert list(worker.refresh().refused) == ["BTCUSDT"]


def test_a_jump_is_held_against_what_the_database_has_where_nobody_remembers_a_price(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    refresher(cache_url, engine, binance.url).refresh()
    cache.flushdb()
    binance.price("BTCUSDT", "1")
    for worker in [refresher(cache_url, engine, binance.url) for _ in range(2)]:
        looked = worker.refresh()
        assert list(looked.refused) == ["BTCUSDT"]
        assert list(looked.prices) == ["ETHUSDT"]
    make_suspicion_older(cache, by_s=SEEN_FOR_S)
    assert refresher(cache_url, engine, binance.url).refresh().prices["BTCUSDT"] == Decimal(1)


def test_temporary_prices_expire_soon_and_are_never_stored(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    worker = passing_refresher(cache_url, binance.url, kept_s=60)
    assert list(worker.refresh().prices) == list(SYMBOLS)
    assert sources(price_lookup(cache_url, engine)) == {"live"}
    assert 0 < cache.ttl(f"{KEY_PREFIX}price:BTCUSDT") <= 60
    assert PriceTable(engine).entries() == {}


def test_an_answer_that_is_lost_leaves_a_suspicion_as_it_is(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance
) -> None:
    worker = refresher(cache_url, engine, binance.url)
    worker.refresh()
    binance.price("BTCUSDT", "50000")
    worker.refresh()
    noted = cache.get(SUSPICIONS)
    binance.fault("status", status=500)
    worker.refresh()
    assert cache.get(SUSPICIONS) == noted


@pytest.mark.parametrize("noted", ["", "x", "[]", '{"BTCUSDT": 7}', '{"BTCUSDT": {"price": "x"}}'])
def test_state_that_another_version_wrote_is_ignored(
    cache: redis.Redis, cache_url: str, engine: Engine, binance: FakeBinance, noted: str
) -> None:
    cache.set(SUSPICIONS, noted)
    assert list(refresher(cache_url, engine, binance.url).refresh().prices) == list(SYMBOLS)


@pytest.mark.usefixtures("cache")
def test_an_outage_is_logged_when_it_begins_and_ends(
    cache_url: str,
    engine: Engine,
    binance: FakeBinance,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    worker = refresher(cache_url, engine, binance.url)
    binance.fault("status", status=500)
    for _ in range(3):
        worker.refresh()
    binance.heal()
    for _ in range(3):
        worker.refresh()
    assert [record.message for record in caplog.records] == [
        "no_prices_from_binance",
        "trouble_over",
    ]


def make_older(cache: redis.Redis, symbol: str, *, by_s: int) -> None:
    """Move the time of a price back, as if it had been fetched earlier."""
    price, stamp = str(cache.get(f"{KEY_PREFIX}price:{symbol}")).split()
    cache.set(f"{KEY_PREFIX}price:{symbol}", f"{price} {int(stamp) - by_s * 1_000_000}")


def make_suspicion_older(cache: redis.Redis, *, by_s: float) -> None:
    noted = json.loads(str(cache.get(SUSPICIONS)))
    for each in noted.values():
        each["first_seen_s"] -= by_s
    cache.set(SUSPICIONS, json.dumps(noted))


def row_versions(engine: Engine) -> list[str]:
    with autocommit(engine) as connection:
        return list(connection.scalars(text("SELECT xmin::text FROM last_prices")))


def quoted(cache_url: str, engine: Engine) -> Decimal:
    quote = price_lookup(cache_url, engine).quote("BTCUSDT")
    assert quote is not None
    assert quote.source == "live"
    return quote.price


def test_no_prices_are_fetched_when_they_are_off(
    cache_url: str, binance: FakeBinance, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = {**IDENTITY, "DATABASE_URL": "postgresql://nowhere", "BROKER_URL": "redis://nowhere"}
    given = urls | {"CACHE_URL": cache_url, "BINANCE_URLS": binance.url, "PRICE_SYMBOLS": "none"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    refresh()
    assert binance.asked() == []
