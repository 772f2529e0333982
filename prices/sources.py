"""A store of prices as a reader sees it: asked by one at a time, and waited for a moment only.

Guarantees that reading never hangs and never floods a store that is in trouble: however many
want to know, one question is under way, in a thread of its own; after a failure the store
rests, and then only the one who asks again waits for the answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from monitoring.logs import get_logger
from prices.flights import take_off
from prices.quotes import Stamped

REST_S = 1.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    entries: Mapping[str, Stamped]
    asked_at_s: float


class Source:
    """One store. Shared by threads.

    ask: reads the entries, and may raise or hang. patience_s: how long a reader waits for it.
    fresh_for_s: how long an answer serves those who come later; ages go on counting.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[], Mapping[str, Stamped]],
        *,
        patience_s: float,
        fresh_for_s: float,
    ) -> None:
        self._name = name
        self._ask = ask
        self._patience_s = patience_s
        self._fresh_for_s = fresh_for_s
        self._lock = threading.Lock()
        self._found: _Found | None = None
        self._flight: Future[_Found | None] | None = None
        self._started_at_s = 0.0
        self._failed_at_s: float | None = None

    def entries(self) -> Mapping[str, Stamped]:
        """Return what the store has, by symbol, with ages as of now; nothing while it is away."""
        now_s = time.monotonic()
        with self._lock:
            found = self._found
            if found is None or now_s - found.asked_at_s > self._fresh_for_s:
                found = None
                flight, patience_s = self._join(now_s)
        if found is None and flight is not None:
            found = self._wait_for(flight, patience_s)
        return {} if found is None else _aged(found)

    def _join(self, now_s: float) -> tuple[Future[_Found | None] | None, float]:
        """The question under way, started if need be, and how long to wait for it."""
        if self._flight is not None:
            waited_s = now_s - self._started_at_s
            patience_s = self._patience_s - waited_s if self._failed_at_s is None else 0.0
            return self._flight, max(patience_s, 0.0)
        if self._failed_at_s is not None and now_s - self._failed_at_s < REST_S:
            return None, 0.0
        self._started_at_s = now_s
        self._flight = take_off(self._fly, name=f"prices-{self._name}")
        return self._flight, self._patience_s

    def _fly(self) -> _Found | None:
        asked_at_s = time.monotonic()
        try:
            found = _Found(self._ask(), asked_at_s)
        except Exception as error:  # noqa: BLE001 - whatever a store's driver raises, it is away
            self._land(None, type(error).__name__)
            return None
        self._land(found, "")
        return found

    def _land(self, found: _Found | None, error: str) -> None:
        with self._lock:
            self._flight = None
            self._found = found
            if found is None:
                self._fail(error)
            elif self._failed_at_s is not None:
                self._failed_at_s = None
                log.info("price_source_back", source=self._name)

    def _wait_for(self, flight: Future[_Found | None], patience_s: float) -> _Found | None:
        try:
            return flight.result(patience_s)
        except TimeoutError:
            with self._lock:
                if self._flight is flight:
                    self._fail("no answer in time")
            return None

    def _fail(self, error: str) -> None:
        if self._failed_at_s is None:
            log.warning("price_source_away", source=self._name, error=error)
        self._failed_at_s = time.monotonic()


def _aged(found: _Found) -> Mapping[str, Stamped]:
    """The entries, older by the time since the question was asked: rather too old than too new."""
    since_s = time.monotonic() - found.asked_at_s
    return {
        symbol: Stamped(entry.price, entry.as_of, entry.age_s + since_s)
        for symbol, entry in found.entries.items()
    }
