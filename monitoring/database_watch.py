"""Knowing whether the database is there, without any request having to find out.

Guarantees that the answer costs nothing and is never older than the next probe, and that the
circuit breaker is opened and closed by probes alone: a request that failed is a reason to
probe at once, not a proof, since it may have failed for a reason of its own.
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
"""What a probe's statement may take; connecting has its own bound."""
_SECOND_LOOK_AFTER_S: Final = 0.1
_FAILURES_TO_OPEN: Final = 2
"""One failed probe may be a single broken connection."""

log = get_logger(__name__)


class DatabaseWatch:
    """Probes from a thread of its own, which starts when the state is first asked for.

    So after the fork, in the process that needs it.
    """

    def __init__(
        self, probe: Callable[[], None], *, when_away: Callable[[], None] = lambda: None
    ) -> None:
        """Take how to ask the database; it raises a LedgerError when the database is away.

        when_away: called when the breaker opens.
        """
        self._probe = probe
        self._when_away = when_away
        # Time-outs of the breaker would go by the wall clock; our probes pace themselves.
        self._breaker = CircuitBreaker(fail_max=_FAILURES_TO_OPEN, reset_timeout=0)
        self._suspected = threading.Event()
        self._outage = OutageLog(log, "database_away", "database_back")
        self._thread = BackgroundThread("database-watch", self._run, log=log)

    def is_up(self) -> bool:
        """Whether the last probes found the database. Returns at once and never raises."""
        self._thread.ensure_running()
        return self._closed

    def suspect(self) -> None:
        """Have the database probed now: somebody could not reach it. Returns at once.

        Never raises: while no thread can be had, the last probe's answer stands.
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
        """The breaker's: closed (all is well), open, or half-open while a probe tries."""
        return str(self._breaker.current_state)

    @property
    def _closed(self) -> bool:
        return self.state == STATE_CLOSED

    def _run(self) -> None:
        while True:
            try:
                answered = self.probe_once()
            except Exception as error:  # this thread decides for all: it goes on
                log.error("database_probe_failed", exc_info=error)
                answered = True
            self._suspected.wait(self._pause_s(answered=answered))
            self._suspected.clear()

    def _pause_s(self, *, answered: bool) -> float:
        if answered:
            return PROBE_EVERY_S
        return _SECOND_LOOK_AFTER_S if self._closed else PROBE_WHEN_AWAY_EVERY_S
