"""Asks Binance's hosts in turn, heeding every pause, until one gives usable prices.

Guarantees that one look takes a bounded time, however many hosts hang, and that whoever said
"not now" is not asked again before its time. Remembers nothing: pauses come in and go out.
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
ASK_WITHIN_S = 3.0
"""For all hosts together. One that hangs costs 2 s of it, and comes last in the next look."""
MAX_BYTES = 64 * 1024  # a ticker has some 130
ALL = "all"
UNKNOWN = "unknown to Binance"
UNKNOWN_S = 600
_ENOUGH_S = 0.2


@dataclass(slots=True)
class Asked:
    """What a look brought: prices or not, what each host had against it, whom to leave alone.

    pauses: seconds by what is paused, see `pause_names`.
    """

    tickers: Tickers | None = None
    pauses: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def pause(self, name: str, for_s: float) -> None:
        """Note a pause, unless a longer one is noted already or there is none."""
        if for_s > self.pauses.get(name, 0):
            self.pauses[name] = for_s


def pause_names(urls: Iterable[str], symbols: Iterable[str]) -> list[str]:
    """Everything that can be paused: all at once, a host, its place in line, a symbol."""
    hosts = [name for url in urls for name in (_out(url), _late(url))]
    return [ALL, *hosts, *map(_unknown, symbols)]


class Binance:
    """The hosts at these addresses, which all serve the same. within_s: bounds one look."""

    def __init__(self, urls: Sequence[str], *, within_s: float = ASK_WITHIN_S) -> None:
        self._urls = urls
        self._within_s = within_s
        self._getter = BoundedGetter()

    def ask(self, symbols: Sequence[str], pauses: Mapping[str, float]) -> Asked:
        """Ask for all symbols at once. pauses: those that are not over. Never raises."""
        asked = Asked()
        known = [symbol for symbol in symbols if _unknown(symbol) not in pauses]
        if ALL in pauses:
            asked.failures[ALL] = f"paused for another {pauses[ALL]:.0f} s"
        elif not known:
            asked.failures[ALL] = "knows none of the symbols"
        else:
            self._ask_in_turn(asked, known, self._line(asked, pauses))
        if asked.tickers is not None:
            unknown = (symbol for symbol in symbols if symbol not in known)
            asked.tickers.refused.update(dict.fromkeys(unknown, UNKNOWN))
        return asked

    def _line(self, asked: Asked, pauses: Mapping[str, float]) -> list[str]:
        """The hosts that may be asked, in their order, but those that failed lately last."""
        for url in self._urls:
            if _out(url) in pauses:
                asked.failures[url] = "left out, since it blocks us"
        open_to_us = [url for url in self._urls if _out(url) not in pauses]
        return sorted(open_to_us, key=lambda url: _late(url) in pauses)

    def _ask_in_turn(self, asked: Asked, symbols: Sequence[str], line: Sequence[str]) -> None:
        deadline_s = time.monotonic() + self._within_s
        for url in line:
            answer = self._get(asked, url, symbols, deadline_s)
            if answer is None:
                continue
            if _is_unknown(answer):
                self._ask_one_by_one(asked, url, symbols, deadline_s)
                return
            if answer.status == HTTPStatus.OK:
                asked.tickers = _read(asked, url, answer, symbols)
            if asked.tickers is not None or ALL in asked.pauses:
                return

    def _ask_one_by_one(
        self, asked: Asked, url: str, symbols: Sequence[str], deadline_s: float
    ) -> None:
        """Find out which symbol makes Binance refuse them all, and leave that one out for now.

        What there is no time for is asked in the next look, without those found by then. A host
        that knows none at all is not believed: it fails, and another comes first in that look.
        """
        found, unknown = Tickers(), []
        for symbol in symbols:
            answer = self._get(asked, url, [symbol], deadline_s)
            if answer is None or ALL in asked.pauses:
                break
            if _is_unknown(answer):
                unknown.append(symbol)
            elif answer.status == HTTPStatus.OK:
                one = _read(asked, url, answer, [symbol]) or Tickers()
                found.prices.update(one.prices)
                found.refused.update(one.refused)
        if len(unknown) == len(symbols):
            _fail(asked, url, "knows none of the symbols")
            return
        for symbol in unknown:
            asked.pause(_unknown(symbol), UNKNOWN_S)
            found.refused[symbol] = UNKNOWN
        asked.tickers = found if found.prices or found.refused else None

    def _get(
        self, asked: Asked, url: str, symbols: Sequence[str], deadline_s: float
    ) -> HttpAnswer | None:
        """Send one request and note what its answer means for the next ones."""
        within_s = deadline_s - time.monotonic()
        if within_s < _ENOUGH_S:
            asked.failures.setdefault(url, "not asked: no time left")
            return None
        parameters = {"symbols": json.dumps(list(symbols), separators=(",", ":"))}
        try:
            answer = self._getter.get(
                url + PATH, parameters, within_s=within_s, max_bytes=MAX_BYTES
            )
        except NoAnswerError as error:
            _fail(asked, url, str(error))
            return None
        verdict = verdict_on(answer.status, answer.headers)
        asked.pause(ALL, verdict.pause_all_s)
        asked.pause(_out(url), verdict.leave_out_s)
        asked.pause(_late(url), verdict.ask_last_s)
        if answer.status == HTTPStatus.BAD_REQUEST and not _is_unknown(answer):
            _fail(asked, url, "status 400")  # whatever it takes offence at, another may not
        elif answer.status != HTTPStatus.OK:
            asked.failures[url] = f"status {answer.status}"
        return answer


def _is_unknown(answer: HttpAnswer) -> bool:
    return answer.status == HTTPStatus.BAD_REQUEST and names_an_unknown_symbol(answer.body)


def _fail(asked: Asked, url: str, why: str) -> None:
    asked.failures[url] = why
    asked.pause(_late(url), LATE_S)


def _read(asked: Asked, url: str, answer: HttpAnswer, symbols: Sequence[str]) -> Tickers | None:
    try:
        return read_tickers(answer.body, symbols)
    except GarbageError as error:
        _fail(asked, url, str(error))
        return None


def _out(url: str) -> str:
    return f"out {url}"


def _late(url: str) -> str:
    return f"late {url}"


def _unknown(symbol: str) -> str:
    return f"unknown {symbol}"
