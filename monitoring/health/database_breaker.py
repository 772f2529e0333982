"""Circuit breaker of the database: probes it in the background, so that no request has to wait.

Guarantees that reading the state costs nothing, and that only probes open and close the breaker:
a failed request is a reason to probe at once, but no proof, since it may have failed for a reason
of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from pybreaker import STATE_CLOSED, CircuitBreaker, CircuitBreakerError

from ledger.errors import LedgerError
from monitoring.logs import get_logger
from monitoring.metrics.catalogue import BREAKER_OPEN
from resilience.background_thread import BackgroundThread
from resilience.outage_log import OutageLog

PROBE_EVERY_S: Final = 2.0
PROBE_WHEN_AWAY_EVERY_S: Final = 0.5
PROBE_TIMEOUT_S: Final = 1.0
"""Limit of a probe's statement; connecting has its own limit."""
_SECOND_PROBE_AFTER_S: Final = 0.1
_FAILURES_TO_OPEN: Final = 2
"""One failed probe may be a single broken connection."""

log = get_logger(__name__)


class DatabaseBreaker:
    """Probes in a background thread, which starts with the first use, so after the fork."""

    def __init__(
        self, probe: Callable[[], None], *, when_away: Callable[[], None] = lambda: None
    ) -> None:
        """Take the probe, which raises a LedgerError while the database is away.

        when_away: called when the breaker opens.
        """
        self._probe = probe
        self._when_away = when_away
        # No reset time-out: it would use the wall clock, and our probes have their own rhythm.
        self._breaker = CircuitBreaker(fail_max=_FAILURES_TO_OPEN, reset_timeout=0)
        self._suspected = threading.Event()
        self._outage = OutageLog(log, "database_away", "database_back")
        self._thread = BackgroundThread("database-watch", self._run, log=log)

    def is_up(self) -> bool:
        """Whether the last probes reached the database. Returns at once and never raises."""
        self._thread.ensure_running()
        return self._closed

    def suspect(self) -> None:
        """Request a probe now, because a request could not reach the database. Returns at once.

        Never raises: if no thread can be started, the result of the last probe stays.
        """
        self._thread.ensure_running()
        self._suspected.set()

    def probe_once(self) -> bool:
        """Probe, and open or close the breaker. Returns: whether the database answered."""
        was_closed = self._closed
        if not was_closed:
            self._breaker.half_open()
        try:
            self._breaker.call(self._probe)
        except (LedgerError, CircuitBreakerError) as error:
            answered = False
            if was_closed and not self._closed:
                reason = error.__context__ if isinstance(error, CircuitBreakerError) else error
                self._outage.failed(error=str(reason or error))
                self._when_away()
        else:
            answered = True
            self._outage.recovered()
        BREAKER_OPEN.set(0 if self._closed else 1)
        return answered

    @property
    def state(self) -> str:
        """The state of the breaker: closed (all is well), open, or half-open during a probe."""
        return str(self._breaker.current_state)

    @property
    def _closed(self) -> bool:
        return self.state == STATE_CLOSED

    def _run(self) -> None:
        while True:
            try:
                answered = self.probe_once()
            except Exception as error:  # all requests depend on this thread: it goes on
                log.error("database_probe_failed", exc_info=error)
                answered = True
            if answered:
                pause_s = PROBE_EVERY_S
            else:
                pause_s = _SECOND_PROBE_AFTER_S if self._closed else PROBE_WHEN_AWAY_EVERY_S
            self._suspected.wait(pause_s)
            self._suspected.clear()
