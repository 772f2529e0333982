"""Servers that a test may break: killed, frozen, and started again on their old port and data."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from stack.servers.server import Server, server_command, wait_until_up

_START_WITHIN_S = 60.0
_END_WITHIN_S = 20.0


class Breakable:
    """One server and all its processes."""

    def __init__(self, server: Server, log: Path) -> None:
        self._server = server
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, on its old port and data if it ran before, and wait until it answers."""
        assert not self.runs, f"{self._server.name} runs already"
        self._server.prepare()
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                server_command(self._server),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_until_up(self._server, timeout_s=_START_WITHIN_S, is_running=lambda: self.runs)

    def kill(self) -> None:
        """SIGKILL for every process of it at once, and wait until all are gone."""
        if self._process is None:
            return
        tree = self._freeze_tree()
        for process in tree:
            _send(process, signal.SIGKILL)
        self._process.wait(_END_WITHIN_S)
        deadline = time.monotonic() + _END_WITHIN_S
        while not all(map(_is_gone, tree)):
            assert time.monotonic() < deadline, f"{self._server.name} does not die: {tree}"
            time.sleep(0.01)
        self._process = None

    def freeze(self) -> None:
        """SIGSTOP: its connections stay open and the kernel takes new ones, but nobody answers."""
        self._freeze_tree()

    def thaw(self) -> None:
        """SIGCONT. Harmless when it is not frozen."""
        for process in self._tree():
            _send(process, signal.SIGCONT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Frozen for as long as the block takes."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def _freeze_tree(self) -> list[psutil.Process]:
        """Stop all processes, those too that were born while the others were being stopped."""
        frozen: list[psutil.Process] = []
        while born := [process for process in self._tree() if process not in frozen]:
            for process in born:
                _send(process, signal.SIGSTOP)
            frozen += born
        return frozen

    def _tree(self) -> list[psutil.Process]:
        assert self._process is not None, f"{self._server.name} was not started"
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


@contextmanager
def breakable(server: Server, log: Path) -> Iterator[Breakable]:
    """Start `server`, which nobody else uses, and end it whatever was done to it meanwhile."""
    broken = Breakable(server, log)
    try:
        broken.start()
        yield broken
    finally:
        broken.kill()


def _send(process: psutil.Process, number: signal.Signals) -> None:
    # By psutil, which makes sure that the id still belongs to the process we looked at.
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _is_gone(process: psutil.Process) -> bool:
    try:
        # A zombie has ended; whoever adopted it may take its time to collect it.
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
