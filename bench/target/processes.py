"""Processes of a stack: CPU time and memory of each, by the name of its program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.target.running_stack import RunningStack

SERVERS = ("postgres", "broker", "cache", "binance")
MANAGER = "make up"
"""The stack itself and its process manager."""


@dataclass(frozen=True)
class ProcessUse:
    """The use of one process, or of all of a server's."""

    cpu_s: float
    pss_bytes: int
    """Its own memory, and its share of what it shares with others."""


def is_application(name: str) -> bool:
    """Return whether a process with this name is the application's, not a server's."""
    return name.partition(" ")[0] not in SERVERS and name != MANAGER


def process_uses(stack: RunningStack) -> dict[str, ProcessUse]:
    """Return what each process has used since it started, and uses now.

    A program's first process has the program's name, its children have a number behind it. All of
    a server's are one. The time of children that have ended counts for the process they had.
    """
    pids = stack.pids()
    programs = {pid: name for name, pid in pids.items()}
    uses: dict[str, ProcessUse] = {}
    for name, pid in sorted(pids.items()):
        root = psutil.Process(pid)
        family = [root, *sorted(root.children(recursive=True), key=lambda each: each.pid)]
        if name in SERVERS:
            uses[name] = _use_of(family)
            continue
        for number, process in enumerate(family):
            uses[f"{name} {number}" if number else name] = _use_of([process])
    manager = psutil.Process(stack.process.pid)
    others = [manager, *(each for each in manager.children() if each.pid not in programs)]
    uses[MANAGER] = _use_of(others)
    return uses


def _use_of(processes: list[psutil.Process]) -> ProcessUse:
    cpu_s, pss_bytes = 0.0, 0
    for process in processes:
        try:
            # Not its system time by `getrusage` alone: a server's processes come and go.
            times = process.cpu_times()
            smaps = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except (psutil.NoSuchProcess, OSError):
            continue  # it has just ended
        cpu_s += times.user + times.system + times.children_user + times.children_system
        pss = next(line for line in smaps.splitlines() if line.startswith("Pss:"))
        pss_bytes += int(pss.split()[1]) * 1024
    return ProcessUse(cpu_s, pss_bytes)
