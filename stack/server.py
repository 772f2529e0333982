"""What every server of the stack offers, and how one is started without the process manager."""

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
from stack.place import Place

_LAUNCHER = Path(__file__).with_name("launch.py")
_STOP_WITHIN_S = 30.0


class Server(Protocol):
    """A server that is prepared on disk, started by whoever runs programs, and then probed."""

    @property
    def name(self) -> str: ...

    @property
    def place(self) -> Place: ...

    @property
    def command(self) -> tuple[str, ...]: ...

    @property
    def stop_signal(self) -> signal.Signals: ...

    @property
    def url(self) -> str: ...

    def prepare(self) -> None:
        """Write what the server needs on disk. Harmless to repeat, but not while it runs."""

    def probe(self) -> None:
        """Use the server once, and make what its users expect in it.

        Raises: ConnectionError: when it does not answer (yet).
        """


def launch_command(
    program: tuple[str, ...],
    *,
    user_id: int | None = None,
    orphaned: signal.Signals = signal.SIGTERM,
    pace: Path | None = None,
) -> tuple[str, ...]:
    """`program`, as a command that dies with its parent; see `stack.launch`."""
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), "--orphaned", orphaned.name]
    if user_id is not None:
        launcher += ["--user", str(user_id)]
    if pace is not None:
        launcher += ["--pace", str(pace)]
    return (*launcher, "--", *program)


def server_command(server: Server, *, pace: Path | None = None) -> tuple[str, ...]:
    """The command that starts `server` under the servers' account."""
    account = server.place.account
    return launch_command(
        server.command,
        user_id=None if account is None else account.uid,
        orphaned=server.stop_signal,
        pace=pace,
    )


def wait_until_up(server: Server, *, timeout_s: float, still_wanted: Callable[[], bool]) -> None:
    """Probe `server` until it answers.

    Raises: StackError: when it does not within `timeout_s` or is no longer `still_wanted`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            server.probe()
        except ConnectionError as error:
            if time.monotonic() > deadline or not still_wanted():
                raise StackError(f"{server.name} did not start: {error}") from error
            time.sleep(0.05)
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
        wait_until_up(server, timeout_s=timeout_s, still_wanted=lambda: process.poll() is None)
        yield
    finally:
        process.send_signal(server.stop_signal)
        process.wait(_STOP_WITHIN_S)
