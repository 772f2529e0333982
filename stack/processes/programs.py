"""The table of programs of `make up`: how each is started, and how it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.commands import app_commands
from stack.servers.server import Server, launch_command, server_command


@dataclass(frozen=True)
class Program:
    """One entry of the table. After `stop_within_s` a program is killed with its process group.

    has_heartbeat: whether it touches the heartbeat file of its name while it works.
    """

    name: str
    command: tuple[str, ...]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_s: int = 30  # longer than a request may wait or a task may take
    has_heartbeat: bool = False


_WITH_HEARTBEAT = ("money", "scans", "beat")


def app_programs(*, run: Path, ready: Path) -> list[Program]:
    """Return the application's programs. They wait for `ready`: for servers and migrations."""
    return [
        Program(
            name,
            launch_command(command, "--after", str(ready), "--pace", str(run / f"{name}.pace")),
            has_heartbeat=name in _WITH_HEARTBEAT,
        )
        for name, command in app_commands().items()
    ]


def server_programs(servers: Sequence[Server], *, run: Path) -> list[Program]:
    """Return the servers' programs. They have longer to stop, to write their data to disk."""
    return [
        Program(
            server.name,
            server_command(server, "--pace", str(run / f"{server.name}.pace")),
            stop_signal=server.stop_signal,
            stop_within_s=60,
        )
        for server in servers
    ]
