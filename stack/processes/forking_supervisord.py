"""Process manager of `make up`: supervisor, whose application programs are forks of itself.

    python -m stack.processes.forking_supervisord CONFIGURATION

A program that loads its modules itself takes 45 to 75 MB for them, and most of the modules are the
same in all programs. Here they are loaded once, before the first fork, and all programs share that
memory. The command of a program says what it becomes, as in an image; servers are executed.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from supervisor.options import ServerOptions  # type: ignore[import-untyped] # it has no types
from supervisor.supervisord import go  # type: ignore[import-untyped]

from runtime.commands import app_commands
from stack import launcher
from stack.servers.server import LAUNCHER

SHARED: Final = (
    "api.app",
    "api.gunicorn_worker",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.concurrency.prefork",
    "gunicorn.app.wsgiapp",
    "workers.consumer",
    "workers.lifecycle",
)
"""Modules that several programs use. None connects, starts a thread or reads a setting."""

_TAKEN_BY_SUPERVISOR: Final = (
    *(signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2),
)


class ForkingOptions(ServerOptions):  # type: ignore[misc] # it has no types
    """Supervisor's options and system calls; a program of the application is not executed."""

    def execve(self, filename: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Become the program, in the child that supervisor has just forked. Never returns."""
        program = argv[argv.index("--") + 1 :] if "--" in argv else argv
        if tuple(program) not in app_commands().values():
            super().execve(filename, argv, env)
        os.environ.clear()
        os.environ.update(env)
        for number in _TAKEN_BY_SUPERVISOR:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        launcher.prepare(launcher.read_options(argv[len(LAUNCHER) :]))
        show_command_line(program)
        _run(program)


def show_command_line(program: Sequence[str]) -> None:
    """Let `ps` show this command as that of the process, as far as there is room for it."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = (int(field) for field in fields[45:47])
    line = b"\0".join(os.fsencode(part) for part in program)[: end - start - 1]
    ctypes.memmove(start, line.ljust(end - start, b"\0"), end - start)


def _run(program: Sequence[str]) -> NoReturn:
    """Run `python -m MODULE ARGUMENTS` in this process, and end it as Python would."""
    module, sys.argv = program[2], list(program[2:])
    code: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        code = ending.code
        if code is not None and not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
            code = 1
    except BaseException:  # noqa: BLE001 - the interpreter would print it, too
        traceback.print_exc()
        code = 1
    # Not by returning: the frames above are supervisor's, and it would clean up after itself. So
    # it ends as a process of `multiprocessing` does: after its threads and its exit handlers.
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def main() -> int:
    """Run supervisor until it is stopped. Returns: the exit code."""
    configuration = Path(sys.argv[1]).resolve()
    for module in SHARED:
        importlib.import_module(module)
    # The garbage collector writes into every object that it looks at: a copy for each process.
    gc.collect()
    gc.freeze()
    os.chdir(configuration.parents[1])  # the paths of logs are relative to it
    options = ForkingOptions()
    options.realize(["-c", str(configuration)])
    options.first, options.test = True, False
    go(options)
    options.close_logger()
    return 0


if __name__ == "__main__":
    sys.exit(main())
