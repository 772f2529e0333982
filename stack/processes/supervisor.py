"""The process manager: supervisor, with nothing in it that ever gives up.

A program counts as started at once (`startsecs=0`), so supervisor never reaches its state
FATAL, in which it would leave a program alone for ever; `stack.launcher` paces the restarts.
The application is a group of its own that is stopped before the servers it uses.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack.errors import StackError
from stack.processes import reaper
from stack.processes.locks import Lock
from stack.processes.programs import Program
from stack.servers.server import launch_command

_ALL_END_WITHIN_S = 120.0
_PROGRAMS_END_WITHIN_S = 20.0

_MANAGER = """\
[supervisord]
nodaemon=true
silent=true
logfile=logs/supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile=run/supervisord.pid
childlogdir=logs
"""
_STAY_ROOT = "user=root\n"  # said aloud, or supervisor warns of it at every start
_GROUP = """
[group:{name}]
programs={programs}
priority={priority}
"""
_PROGRAM = """
[program:{name}]
command={command}
directory={directory}
autorestart=true
startsecs=0
stopsignal={stop_signal}
stopwaitsecs={stop_within_s}
killasgroup=true
redirect_stderr=true
stdout_logfile=logs/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""


def configuration(*, servers: Sequence[Program], app: Sequence[Program], directory: Path) -> str:
    """The text of supervisor's configuration file, without any secret.

    `directory` is where programs run; paths of logs are relative to where supervisor runs.
    """
    parts = [_MANAGER]
    if os.geteuid() == 0:
        parts.append(_STAY_ROOT)
    # The group with the higher priority starts last and, what counts here, stops first.
    for priority, (name, programs) in enumerate((("servers", servers), ("app", app)), start=1):
        if programs:
            names = ",".join(program.name for program in programs)
            parts.append(_GROUP.format(name=name, programs=names, priority=priority))
        parts += [_section(program, directory=directory) for program in programs]
    return "".join(parts)


def _section(program: Program, *, directory: Path) -> str:
    return _PROGRAM.format(
        name=program.name,
        command=_escaped(shlex.join(program.command)),
        directory=_escaped(directory),
        stop_signal=program.stop_signal.name.removeprefix("SIG"),
        stop_within_s=program.stop_within_s,
    )


def _escaped(value: Path | str) -> str:
    """The value as supervisor reads it: it expands what follows a percent sign.

    Raises: StackError: when it holds what starts a comment there; no quoting prevents that.
    """
    text = str(value)
    if re.search(r"\s[;#]|\n", text):
        raise StackError(f"supervisor cannot work with the path {text!r}: no ' ;' or ' #', please")
    return text.replace("%", "%%")


class Supervisor:
    """The running process manager, and through it everything else.

    It is in a session of its own: a Ctrl-C at the terminal reaches `make up` alone, which then
    has everything stopped in order. It dies with `make up` (and its programs with it).
    """

    def __init__(
        self, configuration_file: Path, *, folder: Path, environment: Mapping[str, str], lock: Lock
    ) -> None:
        self._command = launch_command(
            (sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration_file))
        )
        self._folder = folder
        self._environment = environment
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start supervisor, which starts the programs of its configuration."""
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=dict(self._environment),
            start_new_session=True,
            pass_fds=[self._lock.descriptor],
        )

    def revive(self) -> bool:
        """Start supervisor again if it died, when its programs have ended. Whether it was so."""
        if self._process is not None and self.lives():
            reaper.collect(but=self._process.pid)
            return False
        reaper.outlive(_PROGRAMS_END_WITHIN_S)
        self.start()
        return True

    def lives(self) -> bool:
        """Whether supervisor runs."""
        return self._process is not None and self._process.poll() is None

    def request_stop(self) -> None:
        """Ask for everything to be stopped, in order. Returns at once."""
        if self._process is not None:
            self._process.terminate()

    def wait(self) -> None:
        """Wait until everything has stopped after `request_stop`, and make sure of it."""
        if self._process is not None:
            try:
                self._process.wait(_ALL_END_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        reaper.outlive(_PROGRAMS_END_WITHIN_S)
