"""Launcher: becomes another program that ends when its parent ends.

    python launcher.py [OPTION...] -- PROGRAM [ARGUMENT...]

--orphaned SIGNAL  the signal that the kernel sends to the program when its parent dies
                   (SIGTERM), so that nothing is left running when a test run or the process
                   manager is killed
--user ID          the user and group number to run as
--after FILE       wait until FILE exists: the application starts when the servers are ready
--pace FILE        record the start and the process id in FILE, and keep starts at least `PACE_S`
                   apart: restarts never end, and pauses between them do not grow
--alone FILE       wait until an earlier run of the program has ended: two servers that write
                   to the same files would destroy them

Runs as a file under `python -I -S` so that it starts in milliseconds: standard library only.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

PACE_S = 2.0
_PR_SET_PDEATHSIG = 1


def main() -> NoReturn:
    """Apply the options, and become the program."""
    options = read_options()
    prepare(options)
    os.execvp(options.program[0], options.program)  # noqa: S606 - becoming the program is the task


def prepare(options: argparse.Namespace) -> None:
    """Apply the options in an order that matters."""
    # Set now for the waits below, and again later, since a change of user resets it.
    die_with_parent(signal.SIGTERM)
    if options.after is not None:
        wait_for(options.after)
    if options.alone is not None:
        wait_until_alone(options.alone)
    if options.pace is not None:
        keep_pace(options.pace)
    if options.user is not None:
        drop_privileges(options.user)
    die_with_parent(signal.Signals[options.orphaned])


def wait_for(file: Path) -> None:
    """Sleep until `file` exists."""
    while not file.exists():
        time.sleep(0.05)


def wait_until_alone(lock: Path) -> None:
    """Take the lock, which the program and its children then hold until they end."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - the name says it


def keep_pace(marker: Path) -> None:
    """Sleep until the last start recorded in `marker` is `PACE_S` ago, then record this one.

    The content is this process's id, which the program keeps.
    """
    try:
        age_s = time.time() - marker.stat().st_mtime
    except FileNotFoundError:
        age_s = PACE_S
    if (
        0 <= age_s < PACE_S
    ):  # not after the clock was set back: that could delay a program for hours
        time.sleep(PACE_S - age_s)
    marker.touch()
    with suppress(OSError):  # with a full disk the program starts, but its hangs go unnoticed
        # Written in place with the same length: this needs no space, and is never partial.
        descriptor = os.open(marker, os.O_WRONLY)
        os.write(descriptor, f"{os.getpid():<10}\n".encode())
        os.close(descriptor)


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


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options, by default those of this process."""
    parser = argparse.ArgumentParser(description="Become a program that dies with its parent.")
    parser.add_argument("--orphaned", default="SIGTERM")
    parser.add_argument("--user", type=int)
    parser.add_argument("--after", type=Path)
    parser.add_argument("--pace", type=Path)
    parser.add_argument("--alone", type=Path)
    parser.add_argument("program", nargs="+")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
