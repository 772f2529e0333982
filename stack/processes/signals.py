"""Stop signals: turns SIGINT, SIGTERM and SIGHUP into a flag that `pause` checks.

An exception raised in a signal handler can strike between the start of a process and the line
that stores it. So a signal only sets a flag here, and takes effect where the stack pauses.

The end of the `make` that started the stack counts as a signal too. GNU make passes SIGTERM on to
its recipe, but not a SIGINT that was sent to make alone: it waits for the recipe to end by itself,
which a stack never does. A make that is killed passes on nothing. So the kernel is asked for a
SIGTERM when make dies, and `pause` checks whether make was interrupted.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType

from stack.launcher import die_with_parent

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SLICE_S = 0.05


class StopRequested(Exception):
    """The stack was asked to stop."""


class StopSignals:
    """Catches the signals that ask for a stop, from its creation on."""

    def __init__(self) -> None:
        self.requested = False
        for number in _STOPPING:
            signal.signal(number, self._request)
        if _started_by_make():
            die_with_parent(signal.SIGTERM)

    def pause(self, seconds: float) -> None:
        """Sleep; a signal ends the sleep.

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

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True


def make_was_interrupted() -> bool:
    """Return whether the make that started us got a SIGINT.

    It then no longer catches that signal, and waits for us to end.
    """
    if not _started_by_make():
        return False
    interrupt = 1 << (signal.SIGINT - 1)
    masks = (int(_parent_status().get(name, "0"), 16) for name in ("SigCgt", "SigIgn"))
    return not any(mask & interrupt for mask in masks)


def _started_by_make() -> bool:
    return _parent_status().get("Name", "").strip() in ("make", "gmake")


def _parent_status() -> dict[str, str]:
    """Return the kernel's status of our parent; nothing when it has just ended."""
    try:
        text = Path(f"/proc/{os.getppid()}/status").read_text()
    except OSError:
        return {}
    return dict(line.split(":", 1) for line in text.splitlines())
