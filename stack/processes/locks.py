"""Locks of DATA_DIR: one `make up` at a time, and the next only when all of the last has ended.

There are two locks, one of `make up` itself and one that the process manager inherits. The kernel
releases them however a process ends, so they are never stale. When only `make up` was killed, the
next one sees that the rest is still stopping, and waits.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from stack.errors import StackError


class Lock:
    """A lock file, held until `release` or until all processes that inherited it have ended."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self) -> bool:
        """Try to take the lock. Returns: whether it is ours now."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Release the lock, unless a child still holds it too."""
        os.close(self.descriptor)


def take_data_folder(
    run: Path, *, pause: Callable[[float], None], say: Callable[[str], None]
) -> tuple[Lock, Lock]:
    """Take both locks: that of `make up`, and that which the process manager inherits.

    Raises: StackError: when another `make up` runs there.
    """
    ours, managers = Lock(run / "up.lock"), Lock(run / "manager.lock")
    if not ours.take():
        raise StackError(f"`make up` is already running with DATA_DIR {run.parent}")
    if not managers.take():
        say("an earlier run was killed, and its processes are still stopping: waiting for them")
        while not managers.take():
            pause(0.1)
    return ours, managers
