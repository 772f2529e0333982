"""Price source: reads one store of prices, by one thread at a time, and waits only a moment.

Guarantees that reading never hangs and never floods a store that is in trouble: however many
want to know, one question is under way, in a thread of its own; after a failure the store is
left alone for a while, and then only the one who asks again waits for the answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from monitoring.logs import get_logger
from prices.quotes import Stamped
from resilience.cooldown import Cooldown
from resilience.outage_log import OutageLog
from resilience.single_flight import Flight, NoThread, SingleFlight

COOLDOWN_S = 1.0

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
        self._ask = ask
        self._patience_s = patience_s
        self._fresh_for_s = fresh_for_s
        self._lock = threading.Lock()
        self._found: _Found | None = None
        self._questions = SingleFlight(f"prices-{name}", self._ask_store)
        self._cooldown = Cooldown(COOLDOWN_S)
        self._outage = OutageLog(
            log, "price_source_away", "price_source_back", recovered_level="info", source=name
        )

    def entries(self) -> Mapping[str, Stamped]:
        """Return what the store has, by symbol, with ages as of now; nothing while it is away."""
        now_s = time.monotonic()
        with self._lock:
            found = self._found
            if found is not None and now_s - found.asked_at_s <= self._fresh_for_s:
                return _aged(found)
            question, patience_s = self._questions.latest, 0.0
            if self._cooldown.allows():
                question = self._questions.join()
                patience_s = question.started_at_s + self._patience_s - now_s
        found = None if question is None else self._wait_for(question, patience_s)
        return {} if found is None else _aged(found)

    def _wait_for(self, question: Flight[_Found], patience_s: float) -> _Found | None:
        try:
            return question.result(patience_s)
        except TimeoutError:
            with self._lock:
                # The answer may have come just now: then it has ended the outage.
                found = self._found
                if found is None or found.asked_at_s < question.started_at_s:
                    found = None
                    self._fail("no answer in time")
            return found
        except NoThread as error:  # that is not the store's fault: no cool-down
            self._outage.failed(error=type(error).__name__)
            return None
        except Exception:  # noqa: BLE001 - `_ask_store` has said so
            return None

    def _ask_store(self) -> _Found:
        # Everything is noted before the readers see the result: the next of them goes by it.
        asked_at_s = time.monotonic()
        try:
            found = _Found(self._ask(), asked_at_s)
        except Exception as error:  # whatever a store's driver raises, it is away
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


def _aged(found: _Found) -> Mapping[str, Stamped]:
    """The entries, older by the time since the question was asked: rather too old than too new."""
    since_s = time.monotonic() - found.asked_at_s
    return {
        symbol: Stamped(entry.price, entry.as_of, entry.age_s + since_s)
        for symbol, entry in found.entries.items()
    }
