"""Hang watchdog: ends programs that hang, so that the process manager starts them again.

Supervisor restarts a program that dies, but cannot see that one hangs: the sign is that its
heartbeat file is no longer touched. Guarantees to end no program that only seems to hang: after a
change of the clock, after a pause of the machine or of `make up`, or while it still starts. Knows
nothing of what the programs do.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from monitoring.heartbeats import heartbeat_files

_MAX_COUNTED_S = 2.0
"""Time between two checks counts for at most this much: we may have been paused, and the programs
with us."""


@dataclass
class _Program:
    name: str
    process_id: int | None = None
    touched_at_ns: int | None = None
    quiet_s: float = 0.0
    has_beaten: bool = False


@dataclass
class HangWatchdog:
    """Checks the programs' heartbeats; call `check` about twice a second.

    run: the folder where the launcher records the process id of each program (option --pace).
    """

    names: Iterable[str]
    run: Path
    heartbeats: Path
    hung_after_s: float
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _programs: list[_Program] = field(init=False)
    _checked_at_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._programs = [_Program(name) for name in self.names]
        self._checked_at_s = self.clock()

    def check(self) -> None:
        """Check all programs, and end those without a heartbeat for too long."""
        now_s = self.clock()
        passed_s = min(now_s - self._checked_at_s, _MAX_COUNTED_S)
        self._checked_at_s = now_s
        for program in self._programs:
            self._update(program, passed_s)
            if program.quiet_s > self._patience_s(program):
                self._end(program)

    def _update(self, program: _Program, passed_s: float) -> None:
        process_id = None
        with suppress(FileNotFoundError):
            text = (self.run / f"{program.name}.pace").read_text().strip()
            process_id = int(text) if text.isascii() and text.isdigit() else None
        touched_at_ns = None
        with suppress(FileNotFoundError):
            file = heartbeat_files.path(self.heartbeats, program.name)
            touched_at_ns = file.stat().st_mtime_ns
        if process_id != program.process_id:  # it was restarted: its time begins again
            program.process_id, program.has_beaten, program.quiet_s = process_id, False, 0.0
        elif touched_at_ns != program.touched_at_ns:
            program.has_beaten, program.quiet_s = True, 0.0
        else:
            program.quiet_s += passed_s
        program.touched_at_ns = touched_at_ns

    def _patience_s(self, program: _Program) -> float:
        start_within_s = max(heartbeat_files.START_WITHIN_S, self.hung_after_s)
        return self.hung_after_s if program.has_beaten else start_within_s

    def _end(self, program: _Program) -> None:
        quiet_s, program.quiet_s = program.quiet_s, 0.0
        if program.process_id is None or not _leads_a_group_below_us(program.process_id):
            return  # it has just ended
        self.say(f"{program.name} hangs: no heartbeat for {quiet_s:.0f} s, restarting it")
        with suppress(ProcessLookupError):
            os.killpg(program.process_id, signal.SIGKILL)


def _leads_a_group_below_us(process_id: int) -> bool:
    """Return whether the id is still that of our program: the kernel reuses ids."""
    try:
        ancestors = psutil.Process(process_id).parents()
        return os.getpgid(process_id) == process_id and os.getpid() in {it.pid for it in ancestors}
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
