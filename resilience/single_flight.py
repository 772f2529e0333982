"""Single flight: runs at most one call at a time and shares its result with all callers.

Guarantees that a call which hangs blocks no caller longer than that caller wants to wait, and
uses one thread, however many callers there are. A machine without room for another thread is an
error of that call only: the next one tries again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from resilience.event_log import EventLog
from resilience.forks import call_in_children
from resilience.outage_log import OutageLog

Returned = TypeVar("Returned")


class NoThread(Exception):
    """The machine has no room for another thread."""


class Flight(Future[Returned]):
    """One call in its own thread. `result(timeout_s)` waits for it.

    It raises TimeoutError if the call takes longer, and any error that the call raised.
    """

    def __init__(self) -> None:
        super().__init__()
        self.started_at_s = time.monotonic()
        self.ended_at_s = float("inf")


def start_flight(call: Callable[[], Returned], *, name: str) -> Flight[Returned]:
    """Start the call in a thread of this name. Returns at once.

    The caller limits how many calls, and so threads, there are at once.
    Raises: NoThread: when the thread cannot be started.
    """
    flight: Flight[Returned] = Flight()

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - `result` raises it again
            flight.ended_at_s = time.monotonic()
            flight.set_exception(error)
        else:
            flight.ended_at_s = time.monotonic()
            flight.set_result(result)

    # A daemon: a call that hangs must not keep the process from ending.
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise NoThread from error
    return flight


class SingleFlight(Generic[Returned]):
    """Runs one call, at most once at a time. Threads may share it.

    fresh_for_s: how long after its end a result, or an error, is still returned to new callers.
    """

    def __init__(
        self,
        name: str,
        call: Callable[[], Returned],
        *,
        log: EventLog | None = None,
        fresh_for_s: float = 0.0,
    ) -> None:
        """Take the call. log: gets its outages; None: they are not logged."""
        self._name = name
        self._call = call
        self._fresh_for_s = fresh_for_s
        self._failures = log and OutageLog(log, "look_failed", "look_well_again", look=name)
        self._start_failures = log and OutageLog(log, "look_not_started", repeats=True, look=name)
        self._start_over()
        call_in_children(self._start_over)

    def _start_over(self) -> None:
        self._lock = threading.Lock()
        self._flight: Flight[Returned] | None = None

    @property
    def latest(self) -> Flight[Returned] | None:
        """The running call, or else the last one that ended; None if there was none."""
        return self._flight

    def join(self) -> Flight[Returned]:
        """Start the call, or join the one that is running or has just ended.

        Returns at once and never raises. If the thread cannot be started, the flight has ended
        with NoThread, and the next call tries again.
        """
        with self._lock:
            flight = self._flight
            if flight is None or time.monotonic() - flight.ended_at_s >= self._fresh_for_s:
                try:
                    flight = self._flight = start_flight(self._make_call, name=self._name)
                except NoThread as error:
                    if self._start_failures:
                        self._start_failures.failed(error=type(error.__cause__).__name__)
                    flight = Flight()
                    flight.set_exception(error)
            return flight

    def _make_call(self) -> Returned:
        if self._start_failures:
            self._start_failures.recovered()
        try:
            result = self._call()
        except Exception as error:
            if self._failures:
                self._failures.failed(error=type(error).__name__)
            raise
        if self._failures:
            self._failures.recovered()
        return result
