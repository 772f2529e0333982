"""Supervision of all programs: supervisor, configured so that it restarts programs without limit.

A program counts as started at once (`startsecs=0`), so supervisor never reaches its state FATAL,
in which it would no longer restart a program; `stack.launcher` paces the restarts. The
application is a group of its own, which is stopped before the servers it uses.
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
_STAY_ROOT = "user=root\n"  # without it, supervisor warns at every start
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
    """Return the text of supervisor's configuration file, which holds no secret.

    directory: the working directory of programs. Paths of logs are relative to supervisor's own.
    """
    parts = [_MANAGER]
    if os.geteuid() == 0:
        parts.append(_STAY_ROOT)
    # The group with the higher priority starts last and, more important, stops first.
    for priority, (name, programs) in enumerate((("servers", servers), ("app", app)), start=1):
        if programs:
            names = ",".join(program.name for program in programs)
            parts.append(_GROUP.format(name=name, programs=names, priority=priority))
        parts += [
            _PROGRAM.format(
                name=program.name,
                command=_escaped(shlex.join(program.command)),
                directory=_escaped(directory),
                stop_signal=program.stop_signal.name.removeprefix("SIG"),
                stop_within_s=program.stop_within_s,
            )
            for program in programs
        ]
    return "".join(parts)


def _escaped(value: Path | str) -> str:
    """Return the value with percent signs doubled, since supervisor expands them.

    Raises: StackError: when it has a ' ;' or ' #', which start a comment even inside quotes.
    """
    text = str(value)
    if re.search(r"\s[;#]|\n", text):
        raise StackError(
            f"supervisor cannot use the path {text!r}: rename it without ' ;' and ' #'"
        )
    return text.replace("%", "%%")


class Supervisor:
    """The running process manager, which runs all programs.

    It has a session of its own: Ctrl-C at the terminal reaches only `make up`, which then stops
    everything in order. It ends with `make up`, and its programs end with it.
    """

    def __init__(
        self,
        configuration_file: Path,
        *,
        directory: Path,
        environment: Mapping[str, str],
        lock: Lock,
    ) -> None:
        """Take the configuration, and the directory from which the manager's code is loaded."""
        self._command = launch_command(
            (sys.executable, "-m", "stack.processes.forking_supervisord", str(configuration_file))
        )
        self._directory = directory
        self._environment = environment
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start supervisor, which starts the programs of its configuration."""
        self._process = subprocess.Popen(
            self._command,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=dict(self._environment),
            start_new_session=True,
            pass_fds=[self._lock.descriptor],
        )

    def revive(self) -> bool:
        """If supervisor died, start it again after its programs ended. Returns: whether it did."""
        if self._process is not None and self.is_running():
            reaper.collect_ended(except_pid=self._process.pid)
            return False
        reaper.end_children(_PROGRAMS_END_WITHIN_S)
        self.start()
        return True

    def is_running(self) -> bool:
        """Return whether supervisor runs."""
        return self._process is not None and self._process.poll() is None

    def request_stop(self) -> None:
        """Ask supervisor to stop all programs, in order. Returns at once."""
        if self._process is not None:
            self._process.terminate()

    def wait(self) -> None:
        """Wait until everything has stopped after `request_stop`; kill what does not."""
        if self._process is not None:
            try:
                self._process.wait(_ALL_END_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        reaper.end_children(_PROGRAMS_END_WITHIN_S)
