"""Prices without I/O: exact decimals, answers of Binance, and the outlier filter."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prices.binance.backoff import BackoffVerdict, verdict_on
from prices.binance.tickers import GarbageError, names_an_unknown_symbol, read_tickers
from prices.decimals import is_within, middle, parse_price, plain
from prices.outlier_filter import Suspicion, suspect
from prices.stores.refresh_state import Memory
from testing.manual_clock import ManualClock

LIMIT = Decimal("0.1")


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("64250.01000000", "64250.01"),
        ("1.0850", "1.085"),
        ("60000", "60000"),
        ("0.00000001", "0.00000001"),
        ("999999999999999999.999999999999999999", "999999999999999999.999999999999999999"),
    ],
)
def test_a_price_is_read_and_printed_without_a_digit_too_many(text: str, price: str) -> None:
    parsed = parse_price(text)
    assert parsed is not None
    assert plain(parsed) == price


@pytest.mark.parametrize(
    "text",
    [
        *("0", "0.000", "-1", "+1", "NaN", "Infinity", "1e5", "1_000", " 1", "1 ", "", ".5", "1."),
        *("١٢", "1,5", "1" * 19, "0." + "1" * 19, None, 1, 1.5, True, ["1"], {}),
    ],
)
def test_invalid_and_non_positive_prices_are_refused(text: object) -> None:
    assert parse_price(text) is None


PRICES = st.decimals("0.000000000000000001", "999999999999999999", places=18)


@given(PRICES, PRICES)
def test_the_middle_is_exact_whatever_the_context_of_the_thread_is(
    bid: Decimal, ask: Decimal
) -> None:
    with localcontext() as context:
        context.prec = 3
        found = middle(bid, ask)
    assert found.as_integer_ratio() == Decimal(plain(found)).as_integer_ratio()
    with localcontext() as context:
        context.prec = 200
        assert found * 2 == bid + ask


@pytest.mark.parametrize(
    ("price", "within"),
    [("90", True), ("89.999", False), ("100", True), ("110", True), ("110.0001", False)],
)
def test_the_limit_itself_is_still_within_it(price: str, *, within: bool) -> None:
    assert is_within(Decimal(price), Decimal(100), limit=LIMIT) is within


@pytest.mark.parametrize(
    ("status", "headers", "verdict"),
    [
        (200, {}, BackoffVerdict()),
        (200, {"X-MBX-USED-WEIGHT-1M": "2999"}, BackoffVerdict()),
        (200, {"X-MBX-USED-WEIGHT-1M": "3000"}, BackoffVerdict(pause_all_s=10)),
        (200, {"X-MBX-USED-WEIGHT-1M": "4799"}, BackoffVerdict(pause_all_s=10)),
        (200, {"X-MBX-USED-WEIGHT-1M": "4800"}, BackoffVerdict(pause_all_s=60)),
        (200, {"X-MBX-USED-WEIGHT-1M": "many"}, BackoffVerdict()),
        (400, {"X-MBX-USED-WEIGHT-1M": "4800"}, BackoffVerdict(pause_all_s=60)),
        (429, {}, BackoffVerdict(pause_all_s=60)),
        (429, {"Retry-After": "7"}, BackoffVerdict(pause_all_s=7)),
        (429, {"Retry-After": "0"}, BackoffVerdict(pause_all_s=5)),
        (429, {"Retry-After": "-7"}, BackoffVerdict(pause_all_s=60)),
        (429, {"Retry-After": "99999"}, BackoffVerdict(pause_all_s=3_600)),
        (429, {"Retry-After": "9" * 5_000}, BackoffVerdict(pause_all_s=60)),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, BackoffVerdict(pause_all_s=60)),
        (429, {"Retry-After": "²"}, BackoffVerdict(pause_all_s=60)),
        (418, {}, BackoffVerdict(pause_all_s=300)),
        (418, {"Retry-After": "86400"}, BackoffVerdict(pause_all_s=86_400)),
        (418, {"Retry-After": "99999999"}, BackoffVerdict(pause_all_s=3 * 86_400)),
        (403, {}, BackoffVerdict(leave_out_s=600)),
        (451, {}, BackoffVerdict(leave_out_s=600)),
        (500, {}, BackoffVerdict(ask_last_s=30)),
        (502, {"Retry-After": "7"}, BackoffVerdict(ask_last_s=30)),
        (404, {}, BackoffVerdict(ask_last_s=30)),
        (302, {"Location": "http://elsewhere"}, BackoffVerdict(ask_last_s=30)),
        (204, {}, BackoffVerdict(ask_last_s=30)),
    ],
)
def test_what_an_answer_means_for_the_next_request(
    status: int, headers: dict[str, str], verdict: BackoffVerdict
) -> None:
    assert verdict_on(status, headers) == verdict


def ticker(symbol: object = "BTCUSDT", bid: object = "100", ask: object = "101") -> object:
    return {"symbol": symbol, "bidPrice": bid, "askPrice": ask}


def test_the_price_of_a_good_ticker_is_the_middle_of_its_book() -> None:
    body = json.dumps([ticker(), ticker("OTHER")]).encode()
    assert read_tickers(body, ["BTCUSDT"]).prices == {"BTCUSDT": Decimal("100.5")}


@pytest.mark.parametrize(
    ("bid", "ask", "is_price"),
    [
        ("0.00000005", "0.00000006", True),
        ("0.00000001", "0.00000004", True),
        ("0.00000001", "0.00000005", False),
        ("0.00000100", "0.00000111", False),
        ("5", "8", True),
    ],
)
def test_a_few_ticks_are_a_normal_spread(bid: str, ask: str, *, is_price: bool) -> None:
    body = json.dumps([ticker(bid=bid, ask=ask)]).encode()
    assert bool(read_tickers(body, ["BTCUSDT"]).prices) is is_price


def test_a_few_ticks_are_no_jump() -> None:
    tick = Decimal("0.00000001")
    for ticks, is_jump in ((2, False), (4, False), (8, False), (9, True), (1, True)):
        price = tick * ticks
        found = suspect(price, last=5 * tick, before=None, now_s=0, limit=LIMIT, tick=tick)
        assert (found is not None) is is_jump


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (ticker(bid="0.00"), "not a price above zero"),
        (ticker(ask="0"), "not a price above zero"),
        (ticker(bid="-100"), "not a price above zero"),
        (ticker(bid="NaN"), "not a price above zero"),
        (ticker(bid=100), "not a price above zero"),
        (ticker(bid=None), "not a price above zero"),
        ({"symbol": "BTCUSDT"}, "not a price above zero"),
        (ticker(bid="102"), "bid and ask do not fit together"),
        (ticker(ask="111"), "bid and ask do not fit together"),
        (ticker("OTHER"), "missing"),
        (ticker(["BTCUSDT"]), "missing"),
        ({}, "missing"),
    ],
)
def test_a_bad_ticker_is_refused_and_spoils_no_other(bad: object, why: str) -> None:
    body = json.dumps([ticker("ETHUSDT"), bad]).encode()
    read = read_tickers(body, ["BTCUSDT", "ETHUSDT"])
    assert read.refused == {"BTCUSDT": why}
    assert list(read.prices) == ["ETHUSDT"]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"\x00\xff", b"<html>", b"{}", b"null", b'"x"', b"7", b"[7]", b"[[]]", b"[null]"),
        *(b'{"code":-1003}', b"[" * 60_000, b'[{"symbol":'),
    ],
)
def test_an_answer_of_another_shape_is_garbage(body: bytes) -> None:
    with pytest.raises(GarbageError):
        read_tickers(body, ["BTCUSDT"])


def looks(*seen: tuple[float, str], last: str | None = "100") -> list[bool]:
    """Return whether each price was accepted; refreshes are (second, price), in order."""
    believed, before = [], None
    reference = None if last is None else Decimal(last)
    for second, text in seen:
        price = Decimal(text)
        before = suspect(price, last=reference, before=before, now_s=second, limit=LIMIT)
        believed.append(before is None)
        reference = price if before is None else reference
    return believed


@pytest.mark.parametrize(
    ("seen", "believed"),
    [
        # what was seen (second, price)                                       believed
        ([(0, "110"), (2, "121")], [True, True]),
        ([(0, "111")], [False]),
        ([(0, "1")], [False]),
        ([(0, "111"), (2, "101")], [False, True]),
        ([(0, "80"), (5, "80"), (10, "80")], [False, False, True]),
        ([(0, "80"), (2, "80"), (4, "80"), (9.9, "80"), (10, "80")], [False] * 4 + [True]),
        ([(0, "80"), (11, "80"), (12, "80")], [False, False, True]),
        # a crash that goes on falling while it is suspected
        ([(0, "80"), (2, "74"), (4, "68"), (6, "63"), (10, "58")], [False] * 4 + [True]),
        # a suspicion starts again when its price disappears or jumps
        ([(0, "80"), (5, "100"), (10, "80"), (12, "80")], [False, True, False, False]),
        ([(0, "80"), (5, "200"), (10, "80"), (12, "300")], [False] * 4),
        ([(0, "80"), (5, "80"), (66, "80"), (70, "80"), (76, "80")], [False] * 4 + [True]),
        # a clock that is set back proves nothing
        ([(100, "80"), (102, "80"), (5, "80"), (7, "80")], [False] * 4),
    ],
)
def test_a_jump_is_believed_when_it_stays(
    seen: list[tuple[float, str]], believed: list[bool]
) -> None:
    assert looks(*seen) == believed


def test_the_first_price_has_nothing_to_jump_from() -> None:
    assert looks((0, "1"), (2, "100"), last=None) == [True, False]


def test_after_an_accepted_jump_the_next_price_is_compared_with_it() -> None:
    assert looks((0, "80"), (5, "80"), (10, "80"), (12, "100")) == [False, False, True, False]


def test_memory_never_shortens_a_pause_and_forgets_it_when_it_is_over() -> None:
    clock = ManualClock()
    memory = Memory(clock)
    memory.write(prices={}, suspicions={}, pauses={"all": 60, "late x": 30})
    memory.write(prices={}, suspicions={}, pauses={"all": 10})
    assert memory.read().pauses == {"all": 60, "late x": 30}
    clock.now_s += 40
    assert memory.read().pauses == {"all": 20}
    clock.now_s += 20
    assert memory.read().pauses == {}


def test_memory_keeps_the_last_prices_and_the_present_suspicions() -> None:
    memory, suspicion = Memory(ManualClock()), Suspicion(Decimal(1), 1, 1_000.0, 1_000.0)
    memory.write(prices={"A": Decimal(1), "B": Decimal(2)}, suspicions={"C": suspicion}, pauses={})
    memory.write(prices={"A": Decimal(3)}, suspicions={}, pauses={})
    assert memory.read().last == {"A": Decimal(3), "B": Decimal(2)}
    assert memory.read().suspicions == {}


@pytest.mark.parametrize(
    ("body", "names_one"),
    [
        (b'{"code": -1121, "msg": "Invalid symbol."}', True),
        (b'{"code": -1100, "msg": "Illegal characters."}', False),
        (b'{"code": "-1121"}', False),
        (b"[-1121]", False),
        (b"<html>Bad Request</html>", False),
        (b"", False),
    ],
)
def test_only_binances_own_code_says_that_a_symbol_is_unknown(body: bytes, names_one: bool) -> None:
    assert names_an_unknown_symbol(body) == names_one
