"""Background thread: a daemon thread that starts when it is first needed, and starts again.

Guarantees that a process has at most one, even if several callers need it at once; that it
starts in the process that needs it, so after a fork; and that a machine without room for
another thread is no error: the next call tries again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from resilience.event_log import EventLog
from resilience.forks import call_in_children
from resilience.outage_log import OutageLog


class BackgroundThread:
    """Runs `work` in a thread of this name. May be created before or after a fork.

    A thread that has ended, or died of an exception, is started again by the next call of
    `ensure_running`. Work that ends on its own calls `retire` first.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        *,
        log: EventLog,
        not_started: str = "thread_not_started",
    ) -> None:
        """Take the work, and the event to log when the thread cannot be started."""
        self._name = name
        self._work = work
        self._start_failures = OutageLog(
            log, not_started, "thread_started", repeats=True, count_as="times", thread=name
        )
        self._start_over()
        call_in_children(self._start_over)

    def _start_over(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ensure_running(self) -> bool:
        """Start the thread unless it runs. Returns at once and never raises.

        Returns: whether it runs; False when the thread could not be started.
        """
        if self._runs():
            return True
        with self._lock:
            if self._runs():  # another caller was faster
                return True
            # A daemon: work that hangs must not keep the process from ending.
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                failure: RuntimeError | None = error
            else:
                failure, self._thread = None, thread
        if failure is not None:
            self._start_failures.failed(error=type(failure).__name__)
            return False
        self._start_failures.recovered()
        return True

    def retire(self) -> None:
        """Declare, inside the work, that it is about to end: the next call starts a new thread.

        Without this a caller might rely on a thread that has stopped working but is still alive.
        Call it where the decision to end is made, under the same lock.
        """
        with self._lock:
            if self._thread is threading.current_thread():
                self._thread = None

    def _runs(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()
