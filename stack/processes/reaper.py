"""Processes whose parent died: we adopt them, so that none is left when the stack ends.

Only descendants of ours are ever touched, and by their ids, which the kernel cannot give to
another process before we have collected them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable

import psutil

_PR_SET_CHILD_SUBREAPER = 36


def adopt() -> None:
    """Become the parent of descendants whose own parent dies.

    Raises: OSError: when the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def collect(*, but: int) -> None:
    """Collect adopted children that have ended. The child `but` has somebody who waits for it."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid == but:
            return
        os.waitpid(ended.si_pid, 0)


def outlive(within_s: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until no child is left, and kill what is still there after `within_s`."""
    deadline = time.monotonic() + within_s
    while children := psutil.Process().children():
        for child in children:
            if time.monotonic() > deadline:
                child.send_signal(signal.SIGKILL)
            os.waitpid(child.pid, os.WNOHANG)
        sleep(0.05)
