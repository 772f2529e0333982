"""Fork check: evaluates a condition in a forked child while other threads hold locks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable


def holds_in_child(check: Callable[[], bool], *, within_s: float = 10.0) -> bool:
    """Return whether the check is true in a child, which has only the thread that forked.

    False also when the check raises or hangs there.
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
