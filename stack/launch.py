"""Becomes another program, but one that cannot outlive whoever started it.

    python launch.py [--user ID] [--orphaned SIGNAL] [--pace FILE] -- PROGRAM [ARGUMENT...]

The kernel sends SIGNAL (SIGTERM) to the program when its parent dies, so that killing a test
run or the process manager, in whatever way, leaves nothing running. FILE remembers when the
program last started and holds restarts at least `PACE_S` apart, without end and without the
growing pauses of a process manager: after an hour-long outage a program is back in seconds.

Runs as a file under `python -I -S` so that it starts in milliseconds: standard library only.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import time
from pathlib import Path
from typing import NoReturn

PACE_S = 2.0
_PR_SET_PDEATHSIG = 1


def main() -> NoReturn:
    """Wait for the pace, give up privileges, tie the program to its parent and become it."""
    options = _options()
    if options.pace is not None:
        keep_pace(options.pace)
    if options.user is not None:
        drop_privileges(options.user)
    # Last, since the kernel forgets the request when a process changes its user.
    die_with_parent(signal.Signals[options.orphaned])
    os.execvp(options.program[0], options.program)  # noqa: S606 - becoming the program is the task


def keep_pace(marker: Path) -> None:
    """Sleep until the last start that `marker` remembers is `PACE_S` ago, then note this one."""
    try:
        age_s = time.time() - marker.stat().st_mtime
    except FileNotFoundError:
        age_s = PACE_S
    if 0 <= age_s < PACE_S:  # a clock set back must not hold a program off for hours
        time.sleep(PACE_S - age_s)
    marker.touch()


def drop_privileges(user_id: int) -> None:
    """Become `user_id` with the group of the same number and no other group."""
    os.setgroups([])
    os.setgid(user_id)
    os.setuid(user_id)


def die_with_parent(orphaned: signal.Signals) -> None:
    """Ask the kernel for a signal when the parent dies.

    Raises: OSError: when the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(orphaned), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Become a program that dies with its parent.")
    parser.add_argument("--user", type=int, help="the user and group number to run as")
    parser.add_argument("--orphaned", default="SIGTERM", help="the signal when the parent dies")
    parser.add_argument("--pace", type=Path, help="the file that remembers the last start")
    parser.add_argument("program", nargs="+")
    return parser.parse_args()


if __name__ == "__main__":
    main()
