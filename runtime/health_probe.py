"""Health check of a container: reports a program's heartbeat, and ends a program that hangs.

    python -m runtime.health_probe NAME

The exit code is 0 when the program's heartbeat is fresh. Docker restarts a container that has
ended, but not one that hangs. So a program without a heartbeat for HUNG_AFTER_S is killed here,
and its container starts again. Guarantees to kill nothing outside a container and nothing that
is shutting down in order, and to check twice: after a change of the clock or a pause of the
machine a program only seems to hang.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from monitoring.heartbeats import heartbeat_files
from settings import Settings, SettingsError

_CHECK_AGAIN_AFTER_S = 2.5
"""Heartbeats come every second. Docker's time-out of the health check must be longer."""
_INITS = ("docker-init", "tini")


def main() -> int:
    """Check the program named on the command line. Returns: the exit code."""
    name = sys.argv[1]
    try:
        settings = Settings.from_environment()
        folder = heartbeat_files.folder(settings.data_dir)
        if heartbeat_files.is_ending(folder, name):
            return _report(f"{name} is shutting down", 0)
        age_s = heartbeat_files.age_s(folder, name)
        if hangs(age_s, running_s(1), hung_after_s=settings.hung_after_s):
            time.sleep(_CHECK_AGAIN_AFTER_S)
            age_s = heartbeat_files.age_s(folder, name)
            hung = hangs(age_s, running_s(1), hung_after_s=settings.hung_after_s)
            if hung and not heartbeat_files.is_ending(folder, name):
                end_program(Path("/proc/1"))
                return _report(f"{name} hangs: killed it, so that it starts again", 1)
    except (SettingsError, ValueError, OSError) as error:
        return _report(f"cannot be checked: {error}", 1)
    if age_s is None or age_s > settings.hung_after_s:
        return _report(f"{name} has no fresh heartbeat", 1)
    return _report(f"{name}: heartbeat {age_s:.1f} s ago", 0)


def hangs(age_s: float | None, running_s: float, *, hung_after_s: float) -> bool:
    """Return whether a program hangs, by the age of its last heartbeat (None: none yet)."""
    if age_s is None:
        return running_s > max(heartbeat_files.START_WITHIN_S, hung_after_s)
    return age_s > hung_after_s


def running_s(process_id: int) -> float:
    """Return the age of a process in seconds. Raises: OSError: when there is no such process."""
    # The name in brackets may hold anything, so count the fields after it: the 22nd of all.
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_s


def end_program(first: Path) -> None:
    """Kill the children of the container's first process, which ends it and the container.

    first: that process's folder in /proc.
    Raises: OSError: when this is not one of our containers.
    """
    init = (first / "comm").read_text().strip()
    if init not in _INITS:
        raise OSError(f"the first process here is {init}, so this is not one of our containers")
    for child in (first / "task" / "1" / "children").read_text().split():
        os.kill(int(child), signal.SIGKILL)


def _report(line: str, code: int) -> int:
    sys.stdout.write(line + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
