"""Reaper: adopts processes whose parent died, so that none is left when the stack ends.

It only touches our own descendants, by their ids, which the kernel cannot reuse before we have
collected them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable

import psutil

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies.

    Raises: OSError: when the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def collect_ended(*, except_pid: int) -> None:
    """Collect adopted children that have ended, but not `except_pid`, which is waited for."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid == except_pid:
            return
        os.waitpid(ended.si_pid, 0)


def end_children(within_s: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until no child is left, and kill those that are left after `within_s`."""
    deadline = time.monotonic() + within_s
    while children := psutil.Process().children():
        for child in children:
            if time.monotonic() > deadline:
                child.send_signal(signal.SIGKILL)
            os.waitpid(child.pid, os.WNOHANG)
        sleep(0.05)
