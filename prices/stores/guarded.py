"""Guarded store: reads prices from a store that may hang, and waits only a moment.

Guarantees that a read never hangs and never overloads a failing store: however many readers
there are, one read runs at a time, in its own thread. After a failure the store is left alone
for a while, and then only the reader that tries it again waits for the answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from monitoring.logs import get_logger
from prices.quotes import StampedPrice
from resilience.cooldown import Cooldown
from resilience.outage_log import OutageLog
from resilience.single_flight import Flight, NoThread, SingleFlight

COOLDOWN_S = 1.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    entries: Mapping[str, StampedPrice]
    read_at_s: float


class GuardedStore:
    """One store. Threads may share it.

    read: reads the entries; may raise or hang. patience_s: how long a caller waits for it.
    fresh_for_s: how long an answer is used again; its ages keep growing.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Mapping[str, StampedPrice]],
        *,
        patience_s: float,
        fresh_for_s: float,
    ) -> None:
        self._read = read
        self._patience_s = patience_s
        self._fresh_for_s = fresh_for_s
        self._lock = threading.Lock()
        self._found: _Found | None = None
        self._reads = SingleFlight(f"prices-{name}", self._read_store)
        self._cooldown = Cooldown(COOLDOWN_S)
        self._outage = OutageLog(
            log, "price_source_away", "price_source_back", recovered_level="info", source=name
        )

    def entries(self) -> Mapping[str, StampedPrice]:
        """Return the entries by symbol, with their ages as of now; none while the store is away."""
        now_s = time.monotonic()
        with self._lock:
            found = self._found
            if found is not None and now_s - found.read_at_s <= self._fresh_for_s:
                return _aged(found)
            flight, patience_s = self._reads.latest, 0.0
            if self._cooldown.allows():
                flight = self._reads.join()
                patience_s = flight.started_at_s + self._patience_s - now_s
        found = None if flight is None else self._wait_for(flight, patience_s)
        return {} if found is None else _aged(found)

    def _wait_for(self, flight: Flight[_Found], patience_s: float) -> _Found | None:
        try:
            return flight.result(patience_s)
        except TimeoutError:
            with self._lock:
                # The answer may have come in the meantime: then it has ended the outage.
                found = self._found
                if found is None or found.read_at_s < flight.started_at_s:
                    found = None
                    self._fail("no answer in time")
            return found
        except NoThread as error:  # not the fault of the store: no cool-down
            self._outage.failed(error=type(error).__name__)
            return None
        except Exception:  # noqa: BLE001 - `_read_store` has logged it
            return None

    def _read_store(self) -> _Found:
        # The state is updated before the result is visible: the next reader depends on it.
        read_at_s = time.monotonic()
        try:
            found = _Found(self._read(), read_at_s)
        except Exception as error:  # any error of a driver means that the store is away
            with self._lock:
                self._found = None
                self._fail(type(error).__name__)
            raise
        with self._lock:
            self._found = found
            self._cooldown.end()
            self._outage.recovered()
        return found

    def _fail(self, error: str) -> None:
        self._cooldown.start()
        self._outage.failed(error=error)


def _aged(found: _Found) -> Mapping[str, StampedPrice]:
    """Add the time since the read began to the ages: too old is safer than too young."""
    since_s = time.monotonic() - found.read_at_s
    return {
        symbol: StampedPrice(entry.price, entry.as_of, entry.age_s + since_s)
        for symbol, entry in found.entries.items()
    }
