"""Who may use a DATA_DIR: one `make up` at a time, and the next only when all of it has ended.

Two locks, which the kernel releases however a process ends, so nothing ever goes stale: one
of `make up` itself, and one that the process manager inherits. So when `make up` alone was
killed, the next one knows that the rest is still stopping, and waits.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from stack.errors import StackError


class Lock:
    """A lock file. It is held until `release` or the end of all processes that inherited it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self) -> bool:
        """Whether the lock is ours now."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let go, unless a child still holds it too."""
        os.close(self.descriptor)


def take_data_folder(
    run: Path, *, pause: Callable[[float], None], say: Callable[[str], None]
) -> tuple[Lock, Lock]:
    """Take both locks: of `make up`, and the one that the process manager shall inherit.

    Raises: StackError: when another `make up` runs there.
    """
    ours, managers = Lock(run / "up.lock"), Lock(run / "manager.lock")
    if not ours.take():
        raise StackError(f"`make up` is already running with DATA_DIR {run.parent}")
    if not managers.take():
        say("an earlier run was killed and its processes are still stopping: waiting for them")
        while not managers.take():
            pause(0.1)
    return ours, managers
