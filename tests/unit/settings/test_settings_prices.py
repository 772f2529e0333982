"""Settings of prices: usable for every symbol, or one line that names the problem."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from settings import SettingsError
from stack.plan import read_settings
from tests.unit.settings.test_settings import read


def test_the_defaults_are_four_symbols_and_the_public_hosts() -> None:
    settings = read()
    assert settings.price_symbols == ("BTCUSDT", "ETHUSDT", "BNBUSDT", "EURUSDT")
    assert settings.binance_urls[0] == "https://api.binance.com"
    assert settings.binance_urls[-1] == "https://api4.binance.com"
    assert set(settings.fallback_prices) == set(settings.price_symbols)
    assert settings.price_jump_limit == Decimal("0.1")


def test_fallback_prices_complete_the_defaults() -> None:
    given = read(FALLBACK_PRICES='{"BTCUSDT": "1.50", "XRPUSDT": "0.5"}', PRICE_SYMBOLS="XRPUSDT")
    assert given.fallback_prices["BTCUSDT"] == "1.50"
    assert given.fallback_prices["ETHUSDT"] == read().fallback_prices["ETHUSDT"]
    assert given.price_symbols == ("XRPUSDT",)


def test_lists_may_contain_blanks_and_repeats() -> None:
    given = read(BINANCE_URLS=" http://a:1/ ,,https://b, http://a:1", PRICE_SYMBOLS="BTCUSDT , ")
    assert given.binance_urls == ("http://a:1", "https://b")
    assert given.price_symbols == ("BTCUSDT",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("BINANCE_URLS", value) for value in ("fake", "ftp://a", "api.binance.com", "http://")),
        *(("BINANCE_URLS", value) for value in ("http://a:x", "http://a:70000", "http://[", ",")),
        *(("BINANCE_URLS", value) for value in ("http://a/api", "http://a?b", "http://u:hush@a")),
        *(("PRICE_SYMBOLS", value) for value in ("btcusdt", "BTC/USDT", "B", "X" * 51, ",", "²³")),
        ("PRICE_SYMBOLS", ",".join(f"S{number}" for number in range(51))),
        ("PRICE_SYMBOLS", "XRPUSDT"),
        *(("FALLBACK_PRICES", value) for value in ("x", "[]", "null", "7", "[" * 99_999)),
        ("FALLBACK_PRICES", '{"btc": "1"}'),
        *(("FALLBACK_PRICES", f'{{"BTCUSDT": {price}}}') for price in ("1", "null", '"0.0"')),
        *(("FALLBACK_PRICES", f'{{"BTCUSDT": {price}}}') for price in ('"NaN"', '"-1"', '"1e5"')),
        *(("PRICE_JUMP_LIMIT", value) for value in ("0", "0.0", "-1", "nan", "10%", "1e1", "100")),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(**{name: value})
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("none", ["none", "None", " NONE "])
def test_prices_can_be_switched_off(none: str) -> None:
    assert read(PRICE_SYMBOLS=none).price_symbols == ()


def test_prices_of_a_fake_binance_are_not_kept() -> None:
    assert read_settings({"BINANCE_URLS": "fake", "KEEP_PRICES": "yes"}).keep_prices is False
    assert read_settings({"BINANCE_URLS": "http://127.0.0.1:1"}).keep_prices is True
    assert read(KEEP_PRICES="no").keep_prices is False
    with pytest.raises(SettingsError, match="KEEP_PRICES must be one of YES, NO"):
        read(KEEP_PRICES="maybe")


@pytest.mark.parametrize("symbol", ["币安人生USDT", "1000SATSUSDT", "A-B.C_D", "X" * 50])
def test_symbols_may_have_the_characters_that_binance_uses(symbol: str) -> None:
    given = read(PRICE_SYMBOLS=symbol, FALLBACK_PRICES=json.dumps({symbol: "1"}))
    assert given.price_symbols == (symbol,)
    assert given.fallback_prices[symbol] == "1"
