"""Price refresh: fetches prices from Binance, checks them, and stores them.

Guarantees that a refresh takes a few seconds at most, even if a server hangs, and never raises
for an outage: without the cache it uses the state of this process, without PostgreSQL it writes
to the cache only. Outages are logged when they begin and when they end, not every two seconds.
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
from prices.binance.client import ALL, Binance, FetchResult, pause_names
from prices.binance.tickers import Tickers
from prices.decimals import plain
from prices.outlier_filter import Suspicion, suspect
from prices.quotes import StampedPrice
from prices.stores.cache import PriceCache, RefreshLease
from prices.stores.database import KEEP_EVERY_S, PriceTable
from prices.stores.refresh_state import Memory, RefreshState
from resilience.outage_log import OutageLog
from resilience.single_flight import Flight, NoThread, start_flight

DATABASE_WITHIN_S = 1.0
"""How long a refresh waits for PostgreSQL, to read and to write. A longer call goes on in its
thread, once."""
_SHARED_BY_S = 1.0
"""A pause is written to the cache only if it is longer than the one there by this much."""

log = get_logger(__name__)


@dataclass(slots=True)
class RefreshResult:
    """Result of one refresh.

    prices: those that were accepted. refused: why others were not, by symbol.
    elsewhere: another process is refreshing, so this one did nothing.
    """

    prices: dict[str, Decimal] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    suspicions: dict[str, Suspicion] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    elsewhere: bool = False


class Refresher:
    """Refreshes the prices of all symbols. One per process; threads must not share it."""

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        urls: Sequence[str],
        jump_limit: Decimal,
        cache: PriceCache,
        database: PriceTable | None,
    ) -> None:
        """Take the stores and the limit of a jump. database: None if prices are not to be kept."""
        self._symbols = symbols
        self._pause_names = pause_names(urls, symbols)
        self._jump_limit = jump_limit
        self._binance = Binance(urls)
        self._cache = cache
        self._database = database
        self._memory = Memory()
        self._outages: dict[tuple[str, ...], OutageLog] = {}
        self._stored_at_s = float("-inf")
        self._writing: Flight[None] | None = None
        self._reading: Flight[dict[str, StampedPrice]] | None = None

    def refresh(self) -> RefreshResult:
        """Refresh once. Harmless at any time, also while another process refreshes."""
        asked_at_s = time.monotonic()
        try:
            lease = self._cache.begin(self._symbols, self._pause_names)
        except redis.RedisError as error:
            self._log_outage("cache_not_read", type(error).__name__)
            lease = None
        else:
            self._log_outage("cache_not_read", None)
            if lease is None:
                return RefreshResult(elsewhere=True)
        state = self._state(lease)
        fetched = self._binance.fetch(self._symbols, state.pauses)
        tickers = fetched.tickers or Tickers()
        state.last = self._last(state, tickers.prices)
        result = self._check(tickers, state)
        result.failures = fetched.failures
        self._save_state(lease, state, fetched, result)
        self._store(result.prices, asked_at_s)
        self._report(fetched, result)
        return result

    def _state(self, lease: RefreshLease | None) -> RefreshState:
        """Return the state of this process, merged with the shared state if the cache answered."""
        own = self._memory.read()
        if lease is None:
            return own
        shared = lease.state
        return RefreshState(
            now_s=shared.now_s,
            last=own.last | shared.last,
            suspicions=shared.suspicions,
            pauses=_longest(own.pauses, shared.pauses),
        )

    def _last(self, state: RefreshState, prices: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """Return the last prices, to compare new ones with; PostgreSQL adds those not in the state.

        It is read only until a first price of each symbol was accepted.
        """
        if self._database is None or prices.keys() <= state.last.keys():
            return state.last
        if self._reading is not None and not self._reading.done():
            return state.last  # as in `_store`
        try:
            self._reading = start_flight(self._database.entries, name="prices-archive-read")
            stored = self._reading.result(DATABASE_WITHIN_S)
        except (NoThread, TimeoutError, LedgerError) as error:
            self._log_outage("database_not_read", type(error).__name__)
            return state.last
        self._log_outage("database_not_read", None)
        return {symbol: entry.price for symbol, entry in stored.items()} | state.last

    def _check(self, tickers: Tickers, state: RefreshState) -> RefreshResult:
        result = RefreshResult(refused=dict(tickers.refused))
        # A symbol without a new price keeps its suspicion: nothing contradicts it.
        result.suspicions = {
            symbol: each
            for symbol, each in state.suspicions.items()
            if symbol not in tickers.prices
        }
        for symbol, price in tickers.prices.items():
            before = state.suspicions.get(symbol)
            suspicion = suspect(
                price,
                last=state.last.get(symbol),
                before=before,
                now_s=state.now_s,
                limit=self._jump_limit,
                tick=tickers.ticks.get(symbol, Decimal(0)),
            )
            if suspicion is None:
                result.prices[symbol] = price
            else:
                result.suspicions[symbol] = suspicion
                result.refused[symbol] = f"jumped to {plain(price)}"
        return result

    def _save_state(
        self,
        lease: RefreshLease | None,
        state: RefreshState,
        fetched: FetchResult,
        result: RefreshResult,
    ) -> None:
        pauses = _longest(state.pauses, fetched.pauses)
        own_suspicions = result.suspicions if lease is None else {}
        self._memory.write(prices=result.prices, suspicions=own_suspicions, pauses=pauses)
        if lease is None:
            return
        known = lease.state.pauses
        longer = {
            name: left_s
            for name, left_s in pauses.items()
            if left_s > known.get(name, 0) + _SHARED_BY_S
        }
        try:
            self._cache.end(
                lease, prices=result.prices, suspicions=result.suspicions, pauses=longer
            )
        except redis.RedisError as error:
            self._log_outage("cache_not_written", type(error).__name__)
        else:
            self._log_outage("cache_not_written", None)

    def _store(self, prices: Mapping[str, Decimal], asked_at_s: float) -> None:
        """Write the prices to the database every few seconds, and wait only a moment for it."""
        if self._database is None or not prices or asked_at_s - self._stored_at_s < KEEP_EVERY_S:
            return
        if self._writing is not None and not self._writing.done():
            return  # a database that hangs takes one thread, and no refresh waits for it again
        keep = partial(self._database.keep, dict(prices), asked_at_s=asked_at_s)
        try:
            self._writing = start_flight(keep, name="prices-archive")
            self._stored_at_s = asked_at_s
            self._writing.result(DATABASE_WITHIN_S)
        except (NoThread, TimeoutError, LedgerError) as error:
            self._log_outage("database_not_written", type(error).__name__)
        else:
            self._log_outage("database_not_written", None)

    def _report(self, fetched: FetchResult, result: RefreshResult) -> None:
        hosts = "; ".join(f"{name}: {why}" for name, why in fetched.failures.items())
        if ALL in fetched.pauses:  # each time: no host is asked until the pause is over
            log.warning("binance_paused", for_s=fetched.pauses[ALL], reason=hosts or "used weight")
        self._log_outage("no_prices_from_binance", None if fetched.tickers else hosts)
        if fetched.tickers is not None:
            for symbol in self._symbols:
                self._log_outage("price_refused", result.refused.get(symbol), symbol=symbol)

    def _log_outage(self, event: str, reason: str | None, **fields: str) -> None:
        """Log the start of an outage with its reason, or with None its end."""
        key = (event, *fields.values())
        if key not in self._outages:
            self._outages[key] = OutageLog(log, event, "trouble_over", recovered_level="info")
        if reason is None:
            self._outages[key].recovered(trouble=event, **fields)
        else:
            self._outages[key].failed(reason=reason, **fields)


def _longest(*pauses: Mapping[str, float]) -> dict[str, float]:
    """Return the longest pause of each name."""
    longest: dict[str, float] = {}
    for each in pauses:
        for name, left_s in each.items():
            longest[name] = max(left_s, longest.get(name, 0))
    return longest
