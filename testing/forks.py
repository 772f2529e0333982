"""Runs a check in a forked child, while other threads of the test hold what they hold."""

from __future__ import annotations

import os
import time
from collections.abc import Callable


def holds_in_child(check: Callable[[], bool], *, within_s: float = 10.0) -> bool:
    """Whether the check holds in a child, which has no thread but the one that forks.

    False also when it raises there, or hangs.
    """
    child = os.fork()
    if child == 0:
        held = False
        try:
            held = check()
        finally:
            os._exit(0 if held else 1)
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False
