"""Price source: reads one store of prices, by one thread at a time, and waits only a moment.

Guarantees that reading never hangs and never floods a store that is in trouble: however many
want to know, one question is under way, in a thread of its own; after a failure the store is
left alone for a while, and then only the one who asks again waits for the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from monitoring.logs import EventLogger
from prices.quotes import Stamped
from resilience.cooldown import Cooldown
from resilience.outage_log import OutageLog
from resilience.single_flight import NoThread, SingleFlight

COOLDOWN_S = 1.0

events = EventLogger(__name__)


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
        self._questions = SingleFlight(f"prices-{name}", self._ask_store, fresh_for_s=fresh_for_s)
        self._cooldown = Cooldown(COOLDOWN_S)
        self._outage = OutageLog(
            events, "price_source_away", "price_source_back", recovered_level="info", source=name
        )

    def entries(self) -> Mapping[str, Stamped]:
        """Return what the store has, by symbol, with ages as of now; nothing while it is away."""
        question, patience_s = self._questions.latest, 0.0
        if self._cooldown.allows():
            question = self._questions.join()
            patience_s = question.started_at_s + self._patience_s - time.monotonic()
        if question is None:
            return {}
        try:
            found = question.result(patience_s)
        except TimeoutError:
            if not question.done():
                self._fail("no answer in time")
            return {}
        except NoThread as error:  # that is not the store's fault: no cool-down
            self._outage.failed(error=type(error).__name__)
            return {}
        except Exception:  # noqa: BLE001 - `_ask_store` has said so
            return {}
        self._cooldown.end()
        self._outage.recovered()
        return _aged(found)

    def _ask_store(self) -> _Found:
        asked_at_s = time.monotonic()
        try:
            return _Found(self._ask(), asked_at_s)
        except Exception as error:  # whatever a store's driver raises, it is away
            # Before the readers see it: the next one must find the cool-down.
            self._fail(type(error).__name__)
            raise

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
