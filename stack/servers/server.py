"""The protocol of the stack's servers, and the commands that start one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from stack.errors import StackError
from stack.servers.home import Home

LAUNCHER = (sys.executable, "-I", "-S", str(Path(__file__).parent.with_name("launcher.py")))
_STOP_WITHIN_S = 30.0


class Probed(Protocol):
    """A server that can be probed until it answers."""

    @property
    def name(self) -> str: ...

    def probe(self) -> None:
        """Use the server once, and create what its users need in it.

        Raises: ConnectionError: when it does not answer (yet).
        """


class Server(Probed, Protocol):
    """A server of our own: prepared on disk, started as a program, then probed."""

    @property
    def home(self) -> Home: ...

    @property
    def command(self) -> tuple[str, ...]: ...

    @property
    def stop_signal(self) -> signal.Signals: ...

    @property
    def url(self) -> str: ...

    def prepare(self) -> None:
        """Write what the server needs on disk. Harmless to repeat, but not while it runs."""


def launch_command(
    program: tuple[str, ...], *options: str, orphaned: signal.Signals = signal.SIGTERM
) -> tuple[str, ...]:
    """Return a command that ends with its parent; for the options see `stack.launcher`."""
    return (*LAUNCHER, "--orphaned", orphaned.name, *options, "--", *program)


def server_command(server: Server, *options: str) -> tuple[str, ...]:
    """Return the command that starts `server` under the servers' account, once at a time."""
    options += ("--alone", str(server.home.data / f"{server.name}.lock"))
    if server.home.account is not None:
        options += ("--user", str(server.home.account.uid))
    return launch_command(server.command, *options, orphaned=server.stop_signal)


def wait_until_up(
    server: Probed,
    *,
    timeout_s: float,
    pause: Callable[[float], None] = time.sleep,
    is_running: Callable[[], bool] = lambda: True,
) -> None:
    """Probe `server` until it answers, with a `pause` after each failure.

    Raises: StackError: when it does not answer within `timeout_s`, or `is_running()` is false.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            server.probe()
        except ConnectionError as error:
            if time.monotonic() > deadline or not is_running():
                reason = " ".join(str(error).split())
                raise StackError(f"{server.name} does not answer: {reason}") from error
            pause(0.05)
        else:
            return


@contextmanager
def running(server: Server, *, log: Path, timeout_s: float = 60.0) -> Iterator[None]:
    """Prepare and start `server`, and stop it at the end.

    Raises: StackError: when it does not start; its `log` says why.
    """
    server.prepare()
    with log.open("ab") as output:
        process = subprocess.Popen(
            server_command(server), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        wait_until_up(server, timeout_s=timeout_s, is_running=lambda: process.poll() is None)
        yield
    finally:
        process.send_signal(server.stop_signal)
        process.wait(_STOP_WITHIN_S)
