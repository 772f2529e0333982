"""Ends programs that hang, so that the process manager starts them again.

A program that dies is started again by supervisor. One that hangs is alive, as far as
supervisor can tell; what tells it from a healthy one is its heartbeat file, which stands
still. Guarantees to wait out what only looks like a hang: a clock that was set, a machine or a
`make up` that was paused, a program that still starts. Knows nothing of what programs do.
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

_LOOKED_AWAY_S = 2.0
"""What passes between two looks counts for no more than this: we may have been paused, and
then so was everybody else."""


@dataclass
class _Program:
    name: str
    process_id: int | None = None
    touched_at_ns: int | None = None
    quiet_s: float = 0.0
    has_beaten: bool = False


@dataclass
class HangWatchdog:
    """Looks at the programs' heartbeats; call `look` about twice a second.

    run: where the launcher notes which process each program is (`stack.launcher`, --pace).
    """

    names: Iterable[str]
    run: Path
    heartbeats: Path
    hung_after_s: float
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _programs: list[_Program] = field(init=False)
    _looked_at_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._programs = [_Program(name) for name in self.names]
        self._looked_at_s = self.clock()

    def look(self) -> None:
        """Look at all of them, and end those that have been quiet for too long."""
        now_s = self.clock()
        passed_s = min(now_s - self._looked_at_s, _LOOKED_AWAY_S)
        self._looked_at_s = now_s
        for program in self._programs:
            self._note(program, passed_s)
            if program.quiet_s > self._patience_s(program):
                self._end(program)

    def _note(self, program: _Program, passed_s: float) -> None:
        process_id = self._process_id(program.name)
        touched_at_ns = self._touched_at_ns(program.name)
        if process_id != program.process_id:  # another start: it has its time again
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
            return  # it ended a moment ago
        self.say(
            f"{program.name} shows no sign of life for {quiet_s:.0f} s: ending it, to start again"
        )
        with suppress(ProcessLookupError):
            os.killpg(program.process_id, signal.SIGKILL)

    def _process_id(self, name: str) -> int | None:
        try:
            text = (self.run / f"{name}.pace").read_text().strip()
        except FileNotFoundError:
            return None
        return int(text) if text.isascii() and text.isdigit() else None

    def _touched_at_ns(self, name: str) -> int | None:
        try:
            return heartbeat_files.path(self.heartbeats, name).stat().st_mtime_ns
        except FileNotFoundError:
            return None


def _leads_a_group_below_us(process_id: int) -> bool:
    """Whether the id is still that of a program of ours: ids of the dead are given away again."""
    try:
        ancestors = psutil.Process(process_id).parents()
        return os.getpgid(process_id) == process_id and os.getpid() in {it.pid for it in ancestors}
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
