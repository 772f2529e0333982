"""One look at Binance: ask, judge what came, and keep it for all who want to know.

Guarantees that a look takes seconds at most, whatever hangs, and never raises for an outage:
without the cache it goes by this process's own notes, without PostgreSQL the cache alone gets
the prices. What goes wrong is logged when it begins and when it ends, not every two seconds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

import redis

from ledger.errors import LedgerError
from monitoring.logs import get_logger
from prices.archive import KEEP_EVERY_S, Archive
from prices.binance import ALL, Asked, Binance, pause_names
from prices.decimals import plain
from prices.jumps import Suspicion, suspect
from prices.notes import Memory, Notes
from prices.quotes import Stamped
from prices.shelf import Shelf, Turn
from prices.tickers import Tickers
from resilience.outage_log import OutageLog
from resilience.single_flight import Flight, NoThread, start_flight

ARCHIVE_WITHIN_S = 1.0
"""How long a look waits for PostgreSQL, to read and to write. What takes longer goes on in its
thread, once."""
_SHARED_BY_S = 1.0

log = get_logger(__name__)


@dataclass(slots=True)
class Looked:
    """What one look did. prices: those that were believed; refused: why not, by symbol."""

    prices: dict[str, Decimal] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    suspicions: dict[str, Suspicion] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    elsewhere: bool = False
    """Another look was under way: this one did nothing."""


class Refresher:
    """Refreshes all symbols. One per process, used by one thread."""

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        urls: Sequence[str],
        jump_limit: Decimal,
        shelf: Shelf,
        archive: Archive | None,
    ) -> None:
        """Take everything it needs. archive: None where the prices are of no use later."""
        self._symbols = symbols
        self._pause_names = pause_names(urls, symbols)
        self._jump_limit = jump_limit
        self._binance = Binance(urls)
        self._shelf = shelf
        self._archive = archive
        self._memory = Memory()
        self._outages: dict[tuple[str, ...], OutageLog] = {}
        self._kept_at_s = float("-inf")
        self._keeping: Flight[None] | None = None
        self._reading: Flight[dict[str, Stamped]] | None = None

    def look(self) -> Looked:
        """Take one look. Harmless beside another and at any time."""
        asked_at_s = time.monotonic()
        turn, is_shared = self._begin()
        if is_shared and turn is None:
            return Looked(elsewhere=True)
        notes = self._notes(turn)
        asked = self._binance.ask(self._symbols, notes.pauses)
        tickers = asked.tickers or Tickers()
        notes.last = self._last(notes, tickers.prices)
        looked = self._judge(tickers, notes)
        looked.failures = asked.failures
        self._remember(turn, notes, asked, looked)
        self._keep(looked.prices, asked_at_s)
        self._report(asked, looked)
        return looked

    def _begin(self) -> tuple[Turn | None, bool]:
        """Returns: the turn, unless another process has it; and whether the cache answers."""
        try:
            turn = self._shelf.begin(self._symbols, self._pause_names)
        except redis.RedisError as error:
            self._note("cache_not_read", type(error).__name__)
            return None, False
        self._note("cache_not_read", None)
        return turn, True

    def _notes(self, turn: Turn | None) -> Notes:
        """What is noted: by all where the cache answers, and in any case by this process."""
        own = self._memory.read()
        if turn is None:
            return own
        shared = turn.notes
        return Notes(
            now_s=shared.now_s,
            last=own.last | shared.last,
            suspicions=shared.suspicions,
            pauses=_longest(own.pauses, shared.pauses),
        )

    def _last(self, notes: Notes, prices: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """The last prices to hold the new ones against: what nobody noted, PostgreSQL may have.

        Read only until a first price was believed, so by no look that comes later.
        """
        if self._archive is None or prices.keys() <= notes.last.keys():
            return notes.last
        if self._reading is not None and not self._reading.done():
            return notes.last  # as in `_keep`
        try:
            self._reading = start_flight(self._archive.entries, name="prices-archive-read")
            archived = self._reading.result(ARCHIVE_WITHIN_S)
        except (NoThread, TimeoutError, LedgerError) as error:
            self._note("database_not_read", type(error).__name__)
            return notes.last
        self._note("database_not_read", None)
        return {symbol: entry.price for symbol, entry in archived.items()} | notes.last

    def _judge(self, tickers: Tickers, notes: Notes) -> Looked:
        looked = Looked(refused=dict(tickers.refused))
        # A symbol of which nothing was heard stays suspected: nothing speaks against it.
        looked.suspicions = {
            symbol: each
            for symbol, each in notes.suspicions.items()
            if symbol not in tickers.prices
        }
        for symbol, price in tickers.prices.items():
            before = notes.suspicions.get(symbol)
            suspicion = suspect(
                price,
                last=notes.last.get(symbol),
                before=before,
                now_s=notes.now_s,
                limit=self._jump_limit,
            )
            if suspicion is None:
                looked.prices[symbol] = price
            else:
                looked.suspicions[symbol] = suspicion
                looked.refused[symbol] = f"jumped to {plain(price)}"
        return looked

    def _remember(self, turn: Turn | None, notes: Notes, asked: Asked, looked: Looked) -> None:
        pauses = _longest(notes.pauses, asked.pauses)
        alone = looked.suspicions if turn is None else {}
        self._memory.write(prices=looked.prices, suspicions=alone, pauses=pauses)
        if turn is None:
            return
        known = turn.notes.pauses
        news = {
            name: left_s
            for name, left_s in pauses.items()
            if left_s > known.get(name, 0) + _SHARED_BY_S
        }
        try:
            self._shelf.end(turn, prices=looked.prices, suspicions=looked.suspicions, pauses=news)
        except redis.RedisError as error:
            self._note("cache_not_written", type(error).__name__)
        else:
            self._note("cache_not_written", None)

    def _keep(self, prices: Mapping[str, Decimal], asked_at_s: float) -> None:
        """Write the last known prices down, every few seconds, and wait only a moment for it."""
        if self._archive is None or not prices or asked_at_s - self._kept_at_s < KEEP_EVERY_S:
            return
        if self._keeping is not None and not self._keeping.done():
            return  # a database that hangs costs one thread, and no look waits for it again
        keep = partial(self._archive.keep, dict(prices), asked_at_s=asked_at_s)
        try:
            self._keeping = start_flight(keep, name="prices-archive")
            self._kept_at_s = asked_at_s
            self._keeping.result(ARCHIVE_WITHIN_S)
        except (NoThread, TimeoutError, LedgerError) as error:
            self._note("database_not_written", type(error).__name__)
        else:
            self._note("database_not_written", None)

    def _report(self, asked: Asked, looked: Looked) -> None:
        hosts = "; ".join(f"{name}: {why}" for name, why in asked.failures.items())
        if ALL in asked.pauses:  # said each time: nobody is asked until it is over
            log.warning("binance_paused", for_s=asked.pauses[ALL], reason=hosts or "used weight")
        self._note("no_prices_from_binance", None if asked.tickers else hosts)
        if asked.tickers is not None:
            for symbol in self._symbols:
                self._note("price_refused", looked.refused.get(symbol), symbol=symbol)

    def _note(self, event: str, reason: str | None, **fields: str) -> None:
        """Log that one thing fails, and for what reason, or with None that it does not."""
        key = (event, *fields.values())
        if key not in self._outages:
            self._outages[key] = OutageLog(log, event, "trouble_over", recovered_level="info")
        if reason is None:
            self._outages[key].recovered(trouble=event, **fields)
        else:
            self._outages[key].failed(reason=reason, **fields)


def _longest(*pauses: Mapping[str, float]) -> dict[str, float]:
    """The longest of each name's pauses."""
    longest: dict[str, float] = {}
    for each in pauses:
        for name, left_s in each.items():
            longest[name] = max(left_s, longest.get(name, 0))
    return longest
