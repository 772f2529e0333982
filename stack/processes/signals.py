"""Ctrl-C and its kin, as something that happens only where the stack pauses.

An exception out of a signal handler can strike between a process's start and our noting it
down. So a signal only sets a flag here, and `pause` is where it takes effect.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

from stack.processes.maker import make_was_interrupted

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SLICE_S = 0.05


class StopRequested(Exception):
    """Somebody wants the stack to stop."""


class StopSignals:
    """Catches the signals that ask for an end, from its creation on."""

    def __init__(self) -> None:
        self.requested = False
        for number in _STOPPING:
            signal.signal(number, self._note)

    def pause(self, seconds: float) -> None:
        """Sleep, or wake up for a signal.

        Raises: StopRequested: when a signal came, now or earlier.
        """
        deadline = time.monotonic() + seconds
        while True:
            if self.requested or make_was_interrupted():
                raise StopRequested
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, _SLICE_S))

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
