"""Binance client: asks the hosts in turn, respecting every pause, until one has usable prices.

Guarantees that a fetch takes a bounded time, however many hosts hang, and that a paused host is
not asked before its pause is over. It has no state: the caller passes the pauses, and gets the
new ones back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from prices.binance.backoff import LATE_S, verdict_on
from prices.binance.http import BoundedGetter, HttpAnswer, NoAnswerError
from prices.binance.tickers import GarbageError, Tickers, names_an_unknown_symbol, read_tickers

PATH = "/api/v3/ticker/bookTicker"
FETCH_WITHIN_S = 3.0
"""For all hosts together. One that hangs takes 2 s of it, and is asked last in the next fetch."""
MAX_BYTES = 64 * 1024  # a ticker has about 130
ALL = "all"
UNKNOWN = "unknown to Binance"
UNKNOWN_S = 600
_ENOUGH_S = 0.2


@dataclass(slots=True)
class FetchResult:
    """Result of a fetch: the prices if there are any, the failures by host, and the new pauses.

    pauses: seconds by name, see `pause_names`.
    """

    tickers: Tickers | None = None
    pauses: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def pause(self, name: str, for_s: float) -> None:
        """Add a pause, unless it is zero or a longer one exists."""
        if for_s > self.pauses.get(name, 0):
            self.pauses[name] = for_s


def pause_names(urls: Iterable[str], symbols: Iterable[str]) -> list[str]:
    """Return the name of everything that can be paused: all hosts, a host, its turn, a symbol."""
    hosts = [name for url in urls for name in (_out(url), _late(url))]
    return [ALL, *hosts, *map(_unknown, symbols)]


class Binance:
    """The hosts at these URLs, which all serve the same data. within_s: for one fetch."""

    def __init__(self, urls: Sequence[str], *, within_s: float = FETCH_WITHIN_S) -> None:
        self._urls = urls
        self._within_s = within_s
        self._getter = BoundedGetter()

    def fetch(self, symbols: Sequence[str], pauses: Mapping[str, float]) -> FetchResult:
        """Fetch all symbols with one request. pauses: those that are not over. Never raises."""
        result = FetchResult()
        known = [symbol for symbol in symbols if _unknown(symbol) not in pauses]
        if ALL in pauses:
            result.failures[ALL] = f"paused for another {pauses[ALL]:.0f} s"
        elif not known:
            result.failures[ALL] = "knows none of the symbols"
        else:
            self._ask_in_turn(result, known, pauses)
        if result.tickers is not None:
            unknown = (symbol for symbol in symbols if symbol not in known)
            result.tickers.refused.update(dict.fromkeys(unknown, UNKNOWN))
        return result

    def _ask_in_turn(
        self, result: FetchResult, symbols: Sequence[str], pauses: Mapping[str, float]
    ) -> None:
        deadline_s = time.monotonic() + self._within_s
        for url in self._urls:
            if _out(url) in pauses:
                result.failures[url] = "left out, since it blocks us"
        allowed = [url for url in self._urls if _out(url) not in pauses]
        # In their order, but the hosts that failed recently come last: False sorts before True.
        for url in sorted(allowed, key=lambda url: _late(url) in pauses):
            answer = self._get(result, url, symbols, deadline_s)
            if answer is None:
                continue
            if _is_unknown(answer):
                self._ask_one_by_one(result, url, symbols, deadline_s)
                return
            if answer.status == HTTPStatus.OK:
                result.tickers = _read(result, url, answer, symbols)
            if result.tickers is not None or ALL in result.pauses:
                return

    def _ask_one_by_one(
        self, result: FetchResult, url: str, symbols: Sequence[str], deadline_s: float
    ) -> None:
        """Find the symbols that make Binance refuse the whole request, and pause them.

        If the time runs out, the next fetch goes on, without the symbols found until then. A host
        that knows no symbol at all counts as failed, so another comes first in the next fetch.
        """
        found, unknown = Tickers(), []
        for symbol in symbols:
            answer = self._get(result, url, [symbol], deadline_s)
            if answer is None or ALL in result.pauses:
                break
            if _is_unknown(answer):
                unknown.append(symbol)
            elif answer.status == HTTPStatus.OK:
                one = _read(result, url, answer, [symbol]) or Tickers()
                found.prices.update(one.prices)
                found.ticks.update(one.ticks)
                found.refused.update(one.refused)
        if len(unknown) == len(symbols):
            _fail(result, url, "knows none of the symbols")
            return
        for symbol in unknown:
            result.pause(_unknown(symbol), UNKNOWN_S)
            found.refused[symbol] = UNKNOWN
        result.tickers = found if found.prices or found.refused else None

    def _get(
        self, result: FetchResult, url: str, symbols: Sequence[str], deadline_s: float
    ) -> HttpAnswer | None:
        """Send one request, and add the pauses and the failure that follow from its answer."""
        within_s = deadline_s - time.monotonic()
        if within_s < _ENOUGH_S:
            result.failures.setdefault(url, "not asked: no time left")
            return None
        parameters = {
            "symbols": json.dumps(list(symbols), ensure_ascii=False, separators=(",", ":"))
        }
        try:
            answer = self._getter.get(
                url + PATH, parameters, within_s=within_s, max_bytes=MAX_BYTES
            )
        except NoAnswerError as error:
            _fail(result, url, str(error))
            return None
        verdict = verdict_on(answer.status, answer.headers)
        result.pause(ALL, verdict.pause_all_s)
        result.pause(_out(url), verdict.leave_out_s)
        result.pause(_late(url), verdict.ask_last_s)
        if answer.status == HTTPStatus.BAD_REQUEST and not _is_unknown(answer):
            _fail(result, url, "status 400")  # another host may accept it
        elif answer.status != HTTPStatus.OK:
            result.failures[url] = f"status {answer.status}"
        return answer


def _is_unknown(answer: HttpAnswer) -> bool:
    return answer.status == HTTPStatus.BAD_REQUEST and names_an_unknown_symbol(answer.body)


def _fail(result: FetchResult, url: str, why: str) -> None:
    result.failures[url] = why
    result.pause(_late(url), LATE_S)


def _read(
    result: FetchResult, url: str, answer: HttpAnswer, symbols: Sequence[str]
) -> Tickers | None:
    try:
        return read_tickers(answer.body, symbols)
    except GarbageError as error:
        _fail(result, url, str(error))
        return None


def _out(url: str) -> str:
    return f"out {url}"


def _late(url: str) -> str:
    return f"late {url}"


def _unknown(symbol: str) -> str:
    return f"unknown {symbol}"
