"""Looking at something that may hang, without hanging with it.

Guarantees that at most one look at a thing is under way at a time in this process, in a thread
of its own, so that asking often while something hangs piles nothing up; and that whoever waits
for what is seen waits only as long as it likes. A look that goes on failing is one line of the
log when that begins and one when it ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from monitoring.logs import get_logger
from monitoring.streaks import Streak

log = get_logger(__name__)

Seen = TypeVar("Seen")


class NoThread(Exception):
    """The machine has no room for one more thread."""


class Run(Generic[Seen]):
    """One look under way, which several may wait for."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._seen: Seen
        self._error: Exception | None = None
        self._finished_at_s = float("inf")

    def age_s(self) -> float:
        """How long ago it ended; less than zero while it is under way."""
        return time.monotonic() - self._finished_at_s

    def finish(self, seen: Seen) -> None:
        self._seen = seen
        self._end()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._end()

    def result(self, timeout_s: float) -> Seen:
        """Wait for what is seen.

        Raises: TimeoutError: when it takes longer. NoThread: when nobody could look. Whatever
        the look raised.
        """
        if not self._done.wait(max(timeout_s, 0)):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._seen

    def _end(self) -> None:
        self._finished_at_s = time.monotonic()
        self._done.set()


class Look(Generic[Seen]):
    """Looks at one thing, once at a time: whoever comes meanwhile waits for the same.

    fresh_for_s: for so long what was seen is good enough for whoever asks next.
    """

    def __init__(self, name: str, look: Callable[[], Seen], *, fresh_for_s: float = 0.0) -> None:
        self._name = name
        self._look = look
        self._fresh_for_s = fresh_for_s
        self._lock = threading.Lock()
        self._run: Run[Seen] | None = None
        self._refusals = Streak()
        self._is_failing = False

    def start(self) -> Run[Seen]:
        """Start a look, or join the one that is under way or was just made. Returns at once."""
        with self._lock:
            if self._run is None or self._run.age_s() >= self._fresh_for_s:
                self._run = self._started()
            return self._run

    def _started(self) -> Run[Seen]:
        run: Run[Seen] = Run()
        # A daemon: a look that hangs must not keep the process from ending.
        thread = threading.Thread(target=self._work, args=(run,), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if self._refusals.add():
                log.warning("look_not_started", look=self._name, error=type(error).__name__)
            run.fail(NoThread())
        else:
            self._refusals.end()
        return run

    def _work(self, run: Run[Seen]) -> None:
        try:
            seen = self._look()
        except Exception as error:  # noqa: BLE001 - whatever it meets is told to those who wait
            self._note(error)
            run.fail(error)
        else:
            self._note(None)
            run.finish(seen)

    def _note(self, error: Exception | None) -> None:
        if (error is not None) == self._is_failing:
            return
        self._is_failing = error is not None
        if error is None:
            log.warning("look_well_again", look=self._name)
        else:
            log.warning("look_failed", look=self._name, error=type(error).__name__)
