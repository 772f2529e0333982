"""Binance client over real HTTP: every fault of Binance or of the network."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal

import pytest

from prices.binance.client import MAX_BYTES, Binance, FetchResult
from testing.fakes.binance import FakeBinance, fake_binance
from testing.worker_processes import eventually

SYMBOLS = ("BTCUSDT", "ETHUSDT")
WITHIN_S = 1.0
SLACK_S = 3.0  # a busy machine


@pytest.fixture
def hosts() -> Iterator[list[FakeBinance]]:
    """Two hosts; the first is asked first."""
    with ExitStack() as stack:
        yield [stack.enter_context(fake_binance()) for _ in range(2)]


def binance(hosts: list[FakeBinance]) -> Binance:
    return Binance([host.url for host in hosts])


def ask(hosts: list[FakeBinance], **pauses: float) -> FetchResult:
    return binance(hosts).fetch(SYMBOLS, pauses)


def prices(asked: FetchResult) -> list[str]:
    return sorted(asked.tickers.prices) if asked.tickers else []


def test_one_request_brings_all_prices_and_no_other_host_is_asked(hosts: list[FakeBinance]) -> None:
    asked = ask(hosts)
    assert asked.tickers is not None
    assert asked.tickers.prices == {"BTCUSDT": Decimal("64250.015"), "ETHUSDT": Decimal("2650.15")}
    assert (asked.pauses, asked.failures) == ({}, {})
    assert hosts[0].asked() == [list(SYMBOLS)]
    assert hosts[1].asked() == []


@pytest.mark.parametrize(
    ("status", "retry_after", "pause_s"),
    [(429, "7", 7), (429, None, 60), (418, "7200", 7200), (418, None, 300)],
)
def test_a_limit_or_a_ban_pauses_every_host(
    hosts: list[FakeBinance], status: int, retry_after: str | None, pause_s: int
) -> None:
    details = {} if retry_after is None else {"retry_after": retry_after}
    hosts[0].fault("status", status=status, **details)
    asked = ask(hosts)
    assert asked.tickers is None
    assert asked.pauses == {"all": pause_s}
    assert hosts[1].asked() == []


def test_while_all_hosts_are_paused_none_is_asked(hosts: list[FakeBinance]) -> None:
    asked = ask(hosts, all=12.3)
    assert asked.failures == {"all": "paused for another 12 s"}
    assert hosts[0].asked() == hosts[1].asked() == []


@pytest.mark.parametrize("status", [403, 451])
def test_a_host_that_blocks_us_is_left_out_and_the_next_one_asked(
    hosts: list[FakeBinance], status: int
) -> None:
    hosts[0].fault("status", status=status)
    asked = ask(hosts)
    assert prices(asked) == sorted(SYMBOLS)
    assert asked.pauses == {f"out {hosts[0].url}": 600}
    again = binance(hosts).fetch(SYMBOLS, asked.pauses)
    assert prices(again) == sorted(SYMBOLS)
    assert len(hosts[0].asked()) == 1


def test_where_every_host_blocks_us_none_is_asked_again(hosts: list[FakeBinance]) -> None:
    for host in hosts:
        host.fault("status", status=451)
    pauses = ask(hosts).pauses
    assert binance(hosts).fetch(SYMBOLS, pauses).tickers is None
    assert [len(host.asked()) for host in hosts] == [1, 1]


FAILING = [
    ("status", {"status": 500}),
    ("status", {"status": 302}),
    ("status", {"status": 400}),
    ("bytes", {"bytes": "00ff7b"}),
    ("bytes", {"bytes": ""}),
    ("document", {"document": {"code": 0, "msg": "fine"}}),
    ("document", {"document": ["BTCUSDT"]}),
    ("large", {"size": MAX_BYTES}),
    ("short", {}),
]


@pytest.mark.parametrize(("kind", "details"), FAILING)
def test_after_a_host_that_fails_the_next_one_is_asked_and_the_first_comes_last(
    hosts: list[FakeBinance], kind: str, details: dict[str, object]
) -> None:
    hosts[0].fault(kind, **details)
    asked = ask(hosts)
    assert prices(asked) == sorted(SYMBOLS)
    assert asked.pauses == {f"late {hosts[0].url}": 30}
    assert list(asked.failures) == [hosts[0].url]
    assert prices(binance(hosts).fetch(SYMBOLS, asked.pauses)) == sorted(SYMBOLS)
    assert len(hosts[0].asked()) == 1


def test_a_host_that_does_not_answer_is_skipped(hosts: list[FakeBinance]) -> None:
    nowhere = "http://127.0.0.1:1"
    asked = Binance([nowhere, hosts[1].url]).fetch(SYMBOLS, {})
    assert prices(asked) == sorted(SYMBOLS)
    assert asked.pauses == {f"late {nowhere}": 30}


HANGING = [("hang", {}), ("trickle", {"part": "head"}), ("trickle", {"part": "body"})]


@pytest.mark.parametrize(("kind", "details"), HANGING)
def test_hosts_that_hang_or_trickle_hold_nobody_longer_than_the_bound(
    hosts: list[FakeBinance], kind: str, details: dict[str, object]
) -> None:
    for host in hosts:
        host.fault(kind, **details)
    begun_s = time.monotonic()
    asking = Binance([host.url for host in hosts], within_s=WITHIN_S)
    asked = asking.fetch(SYMBOLS, {})
    assert time.monotonic() - begun_s < WITHIN_S + SLACK_S
    assert asked.tickers is None
    assert f"late {hosts[0].url}" in asked.pauses
    for host in hosts:
        host.heal()
    assert prices(asking.fetch(SYMBOLS, asked.pauses)) == sorted(SYMBOLS)


def test_an_aborted_request_leaves_no_thread_behind(hosts: list[FakeBinance]) -> None:
    hosts[0].fault("trickle", part="body")
    Binance([hosts[0].url], within_s=WITHIN_S).fetch(SYMBOLS, {})
    eventually(
        lambda: all(thread.name != "prices-http" for thread in threading.enumerate()),
        within_s=SLACK_S,
    )


def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up(
    hosts: list[FakeBinance],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nowhere = f"http://127.0.0.1:{silent.getsockname()[1]}"
        asked = Binance([nowhere, hosts[1].url]).fetch(SYMBOLS, {})
    assert prices(asked) == sorted(SYMBOLS)
    assert asked.pauses == {f"late {nowhere}": 30}


def test_a_slow_answer_is_waited_for(hosts: list[FakeBinance]) -> None:
    hosts[0].fault("slow", seconds=0.5)
    assert prices(ask(hosts)) == sorted(SYMBOLS)
    assert hosts[1].asked() == []


@pytest.mark.parametrize(("weight", "pause_s"), [(3_000, 10), (4_800, 60)])
def test_a_used_weight_near_the_limit_gives_prices_and_a_pause(
    hosts: list[FakeBinance], weight: int, pause_s: int
) -> None:
    hosts[0].fault("weight", weight=weight)
    asked = ask(hosts)
    assert prices(asked) == sorted(SYMBOLS)
    assert asked.pauses == {"all": pause_s}


@pytest.mark.parametrize("price", ["0.00000000", "-1", "NaN", "1e400"])
def test_a_price_that_is_none_is_refused_alone(hosts: list[FakeBinance], price: str) -> None:
    hosts[0].price("BTCUSDT", price)
    asked = ask(hosts)
    assert asked.tickers is not None
    assert list(asked.tickers.refused) == ["BTCUSDT"]
    assert prices(asked) == ["ETHUSDT"]


def test_a_symbol_that_is_missing_is_refused_alone(hosts: list[FakeBinance]) -> None:
    hosts[0].fault("missing", symbol="BTCUSDT")
    asked = ask(hosts)
    assert asked.tickers is not None
    assert asked.tickers.refused == {"BTCUSDT": "missing"}
    assert prices(asked) == ["ETHUSDT"]


def test_a_symbol_unknown_to_binance_is_found_and_left_out(
    hosts: list[FakeBinance],
) -> None:
    symbols = ("BTCUSDT", "GONEUSDT", "ETHUSDT")
    asked = binance(hosts).fetch(symbols, {})
    assert asked.tickers is not None
    assert prices(asked) == ["BTCUSDT", "ETHUSDT"]
    assert asked.tickers.refused == {"GONEUSDT": "unknown to Binance"}
    assert asked.pauses == {"unknown GONEUSDT": 600}

    again = binance(hosts).fetch(symbols, asked.pauses)
    assert again.tickers is not None
    assert prices(again) == ["BTCUSDT", "ETHUSDT"]
    assert again.tickers.refused == {"GONEUSDT": "unknown to Binance"}
    assert hosts[0].asked()[-1] == ["BTCUSDT", "ETHUSDT"]
    assert hosts[1].asked() == []


def test_a_host_that_knows_no_symbol_at_all_is_not_believed(hosts: list[FakeBinance]) -> None:
    hosts[0].fault("status", status=400, code=-1121)
    asked = ask(hosts)
    assert asked.tickers is None
    assert asked.failures == {hosts[0].url: "knows none of the symbols"}
    assert asked.pauses == {f"late {hosts[0].url}": 30}
    assert prices(binance(hosts).fetch(SYMBOLS, asked.pauses)) == sorted(SYMBOLS)


def test_where_no_symbol_is_known_there_is_nothing_to_ask(hosts: list[FakeBinance]) -> None:
    pauses = {"unknown BTCUSDT": 600.0, "unknown ETHUSDT": 600.0}
    assert binance(hosts).fetch(SYMBOLS, pauses).failures == {"all": "knows none of the symbols"}
    assert hosts[0].asked() == []


def test_proxies_and_passwords_of_the_machine_are_not_used(
    hosts: list[FakeBinance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert prices(ask(hosts)) == sorted(SYMBOLS)


def test_the_request_is_the_one_that_binance_documents() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        heads = []

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                heads.append(connection.recv(65_536).decode())
                body = json.dumps([]).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + body)

        thread = threading.Thread(target=serve)
        thread.start()
        Binance([f"http://127.0.0.1:{listening.getsockname()[1]}"]).fetch(SYMBOLS, {})
        thread.join()
    assert heads[0].startswith(
        "GET /api/v3/ticker/bookTicker?symbols=%5B%22BTCUSDT%22%2C%22ETHUSDT%22%5D HTTP/1.1\r\n"
    )
    assert "Accept-Encoding: identity\r\n" in heads[0]


def test_symbols_of_any_script_are_asked_for(hosts: list[FakeBinance]) -> None:
    hosts[0].price("币安人生USDT", "0.00000005", "0.00000006")
    asked = binance(hosts).fetch(["币安人生USDT"], {})
    assert asked.tickers is not None
    assert asked.tickers.prices == {"币安人生USDT": Decimal("0.000000055")}
    assert asked.tickers.ticks == {"币安人生USDT": Decimal("0.00000001")}


def test_a_proxy_is_used_but_not_for_this_machine_nor_against_no_proxy(
    hosts: list[FakeBinance], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = hosts[1]
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    asked = Binance(["http://binance.invalid"]).fetch(SYMBOLS, {})
    assert asked.tickers is not None
    assert proxy.asked() == [list(SYMBOLS)]
    assert Binance([hosts[0].url]).fetch(SYMBOLS, {}).tickers is not None
    monkeypatch.setenv("NO_PROXY", "binance.invalid")
    assert Binance(["http://binance.invalid"]).fetch(SYMBOLS, {}).tickers is None
    assert len(proxy.asked()) == 1


def test_a_proxy_tunnels_https_and_cannot_hold_a_refresh_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        started_s = time.monotonic()
        asked = Binance(["https://binance.invalid"], within_s=WITHIN_S).fetch(SYMBOLS, {})
        assert asked.tickers is None
        assert time.monotonic() - started_s < WITHIN_S + SLACK_S
        connection, _ = proxy.accept()
        with connection:
            assert connection.recv(1000).startswith(b"CONNECT binance.invalid:443 ")
            assert connection.recv(1000) == b""  # it was closed with the request
