"""`python -m runtime.health_probe NAME`: the health check of a container, which ends what hangs.

Exit code 0 when the program's heartbeat is fresh. Docker starts again what has ended but lets
what hangs hang; so a program without a sign of life for HUNG_AFTER_S, as `make up` has it, is
killed here, and its container starts again. Guarantees to kill nothing outside of a container,
nothing that is about to end in good order, and to look twice: a clock that was set or a machine
that was paused is no hang.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from monitoring.heartbeats import heartbeat_files
from settings import Settings, SettingsError

_LOOK_AGAIN_AFTER_S = 2.5
"""Heartbeats come every second. The health check's own time-out must be longer."""
_INITS = ("docker-init", "tini")


def main() -> int:
    """Look at the program that the command line names. Returns: the exit code."""
    name = sys.argv[1]
    try:
        settings = Settings.from_environment()
        folder = heartbeat_files.folder(settings.data_dir)
        if heartbeat_files.is_ending(folder, name):
            return _say(f"{name} was asked to end", 0)
        age_s = heartbeat_files.age_s(folder, name)
        if hangs(age_s, running_s(1), hung_after_s=settings.hung_after_s):
            time.sleep(_LOOK_AGAIN_AFTER_S)
            age_s = heartbeat_files.age_s(folder, name)
            hung = hangs(age_s, running_s(1), hung_after_s=settings.hung_after_s)
            if hung and not heartbeat_files.is_ending(folder, name):
                end_program(Path("/proc/1"))
                return _say(f"{name} shows no sign of life: ended it, to start again", 1)
    except (SettingsError, ValueError, OSError) as error:
        return _say(f"cannot tell: {error}", 1)
    if age_s is None or age_s > settings.hung_after_s:
        return _say(f"{name} has no fresh heartbeat", 1)
    return _say(f"{name}: heartbeat {age_s:.1f} s ago", 0)


def hangs(age_s: float | None, running_s: float, *, hung_after_s: float) -> bool:
    """Whether a program with such a heartbeat, or with none yet, has had its time."""
    if age_s is None:
        return running_s > max(heartbeat_files.START_WITHIN_S, hung_after_s)
    return age_s > hung_after_s


def running_s(process_id: int) -> float:
    """How long the process has been there. Raises: OSError: when it is not."""
    # After the name in brackets, which may hold anything; the 22nd field of all.
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_s


def end_program(first: Path) -> None:
    """Kill what the container's first process runs, so that this one ends, and the container.

    first: that process's folder in /proc.
    Raises: OSError: when there is no such container around us.
    """
    init = (first / "comm").read_text().strip()
    if init not in _INITS:
        raise OSError(f"the first process here is {init}, so this is no container of ours")
    for child in (first / "task" / "1" / "children").read_text().split():
        os.kill(int(child), signal.SIGKILL)


def _say(line: str, code: int) -> int:
    sys.stdout.write(line + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
