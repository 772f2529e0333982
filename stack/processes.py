"""The table of processes: every program of the stack, how it starts and how it is asked to stop.

Passwords are not in it: a command line can be read by every user of the machine, so programs
find them in their environment or in files of their own.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stack.server import Server, launch_command, server_command
from tasks import queues

MIGRATIONS = (sys.executable, "-m", "migrations")
"""What runs once before the application, and ends."""


@dataclass(frozen=True)
class Program:
    """One entry of the table. After `stop_within_s` it is killed with its whole group.

    has_heartbeat: whether it touches a heartbeat file of its name for as long as it goes on.
    """

    name: str
    command: tuple[str, ...]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_s: int = 30  # longer than a request may wait, or a task take
    has_heartbeat: bool = False


def app_commands() -> dict[str, tuple[str, ...]]:
    """What the application consists of, by the names that logs and messages use."""
    celery = (sys.executable, "-m", "celery", "--app", "workers.app")
    return {
        "api": (
            *(sys.executable, "-m", "gunicorn"),
            *("--config", "api/gunicorn.conf.py", "wsgi:app"),
        ),
        "money": (
            *(*celery, "worker", "--hostname", "money@%h"),
            *("--queues", f"{queues.ADVANCE},{queues.RESERVE}", "--concurrency", "2"),
            *("--without-gossip", "--without-mingle"),
        ),
        "scans": (
            *(*celery, "worker", "--hostname", "scans@%h"),
            *("--queues", f"{queues.SCANS},{queues.WATCH}", "--concurrency", "2"),
            *("--without-gossip", "--without-mingle"),
        ),
        "beat": (*(*celery, "beat"),),
        "flower": (sys.executable, "-m", "workers.flower"),
    }


_WITH_HEARTBEAT = ("money", "scans", "beat")


def app_programs(*, run: Path, ready: Path) -> list[Program]:
    """The application's programs. They wait for `ready`: first the servers, then migrations."""
    return [
        Program(
            name,
            launch_command(command, "--after", str(ready), "--pace", str(run / f"{name}.pace")),
            has_heartbeat=name in _WITH_HEARTBEAT,
        )
        for name, command in app_commands().items()
    ]


def server_programs(servers: Sequence[Server], *, run: Path) -> list[Program]:
    """The servers' programs. They get time to write down what they hold before they are killed."""
    return [
        Program(
            server.name,
            server_command(server, "--pace", str(run / f"{server.name}.pace")),
            stop_signal=server.stop_signal,
            stop_within_s=60,
        )
        for server in servers
    ]
