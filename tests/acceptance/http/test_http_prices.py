"""Prices over HTTP: always answered, with source and age, whichever server is down."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from ledger.clients import create_client
from ledger.postgres.database import transaction
from monitoring.job_runs import JobRuns
from settings import FALLBACK_PRICES
from testing.fakes.binance import fake_binance
from testing.http_client import Caller, serving
from testing.identity import KEY_PREFIX
from testing.price_setup import frozen, put_live_prices, refresher
from testing.servers.breakable import Breakable
from testing.worker_processes import eventually
from tests.acceptance.http.contract import TIME, assert_invalid, assert_problem

pytestmark = pytest.mark.acceptance

FIELDS = ["symbol", "price", "source", "as_of", "age_s"]
SYMBOLS = tuple(FALLBACK_PRICES)
ANSWERED_WITHIN_S = 1.5  # half a second, and a busy machine


def test_prices_are_listed_in_the_order_of_the_settings(client: Caller, cache_url: str) -> None:
    put_live_prices(cache_url)
    eventually(lambda: seen(client) == {"live"})
    answer = client.get("/v1/prices")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    page = answer.json()
    assert page["next_cursor"] is None
    assert [price["symbol"] for price in page["data"]] == list(SYMBOLS)
    for price in page["data"]:
        assert list(price) == FIELDS
        assert price["source"] == "live"
        assert price["price"] == FALLBACK_PRICES[price["symbol"]]
        assert re.fullmatch(TIME, price["as_of"])
        assert 0 <= price["age_s"] <= 5


def test_one_price_is_shown_as_it_is_listed(client: Caller, cache_url: str) -> None:
    put_live_prices(cache_url)
    eventually(lambda: seen(client) == {"live"})
    price = client.get("/v1/prices/BTCUSDT").json()
    assert list(price) == FIELDS
    assert (price["symbol"], price["source"]) == ("BTCUSDT", "live")


@pytest.mark.parametrize("symbol", ["NOUSDT", "btcusdt", "BTC%2FUSDT", "BTCUSDT%00", "*"])
def test_a_symbol_that_is_not_followed_is_not_found(client: Caller, symbol: str) -> None:
    assert_problem(client.get(f"/v1/prices/{symbol}"), 404, "not_found")


@pytest.mark.parametrize("path", ["/v1/prices?limit=1", "/v1/prices/BTCUSDT?x="])
def test_a_parameter_that_means_nothing_is_an_error(client: Caller, path: str) -> None:
    assert_invalid(client.get(path))


@pytest.mark.parametrize("path", ["/v1/prices", "/v1/prices/BTCUSDT"])
def test_prices_need_a_key_and_are_read_only(client: Caller, path: str) -> None:
    assert_problem(Caller(client.port).get(path), 401, "unauthenticated")
    assert_problem(client.post(path, {}), 405, "method_not_allowed")


Own = tuple[Breakable, Breakable, Engine]


@pytest.fixture
def own_api(cache_and_database: Own, broker_url: str, tmp_path: Path) -> Iterator[Caller]:
    """An API on servers of its own, and a caller that always reaches the same process."""
    cache, database, engine = cache_and_database
    with transaction(engine) as connection:
        _, key = create_client(connection, name="reader", scope="client", rate_limit="none")
    with serving(
        log=tmp_path / "gunicorn.log",
        DATABASE_URL=database.url,
        CACHE_URL=cache.url,
        BROKER_URL=broker_url,
    ) as port:
        yield Caller(port, key)


def test_a_price_goes_from_static_over_live_and_stale_to_static_as_servers_fail(
    cache_and_database: Own, own_api: Caller
) -> None:
    cache, database, engine = cache_and_database
    assert seen(own_api) == {"static"}
    assert health(own_api) == {
        "status": "degraded",
        "detail": "static: Binance has not answered yet; trades refuse these",
    }
    with fake_binance() as binance:
        worker = refresher(cache.url, engine, binance.url, symbols=SYMBOLS)
        eventually(lambda: worker.refresh().prices and seen(own_api) == {"live"})
        fine = {"status": "ok", "detail": "4 live"}
        eventually(lambda: worker.refresh().prices and health(own_api) == fine)

    with frozen(cache):
        eventually(lambda: seen(own_api) == {"stale"})
        assert health(own_api)["detail"].startswith("stale: 4 of 4 are the last known prices")
        with frozen(database):
            eventually(lambda: seen(own_api) == {"static"})
            assert {quote["as_of"] for quote in prices(own_api)} == {None}
    eventually(lambda: seen(own_api) in ({"live"}, {"stale"}))


def test_prices_that_are_off_are_an_empty_list_and_no_problem(
    cache_and_database: Own, broker_url: str, tmp_path: Path
) -> None:
    cache, database, engine = cache_and_database
    with transaction(engine) as connection:
        _, key = create_client(connection, name="ops", scope="admin", rate_limit="none")
    JobRuns(cache.url, key_prefix=KEY_PREFIX).record(
        "prices", ok=False, result="of the time when they were on"
    )
    with serving(
        log=tmp_path / "gunicorn.log",
        DATABASE_URL=database.url,
        CACHE_URL=cache.url,
        BROKER_URL=broker_url,
        PRICE_SYMBOLS="none",
    ) as port:
        caller = Caller(port, key)
        assert prices(caller) == []
        assert_problem(caller.get("/v1/prices/BTCUSDT"), 404, "not_found")
        off = {"status": "ok", "detail": "prices are off: PRICE_SYMBOLS is none"}
        assert health(caller) == off
        overview = caller.get("/v1/ops/overview").json()
        assert (overview["prices"], overview["components"]["prices"]) == ([], off)
        assert "prices" not in {scan["name"] for scan in overview["scans"]}
        metrics = caller.get("/metrics").text
        assert 'scan="prices"' not in metrics
        assert "truepenny_price_source{" not in metrics
        assert 'truepenny_component_ok{component="prices"} 1.0' in metrics


def prices(caller: Caller) -> list[dict[str, Any]]:
    """Return all prices, which must come in time, whatever hangs."""
    begun_s = time.monotonic()
    answer = caller.get("/v1/prices")
    assert time.monotonic() - begun_s < ANSWERED_WITHIN_S
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


def seen(caller: Caller) -> set[str]:
    return {price["source"] for price in prices(caller)}


def health(caller: Caller) -> dict[str, str]:
    answer = caller.get("/health")
    assert answer.status_code == 200
    component: dict[str, str] = answer.json()["components"]["prices"]
    return component
