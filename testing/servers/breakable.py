"""Breakable servers: a test can kill, freeze and restart them on the same port and data."""

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
        """Start it, on the same port and data as before, and wait until it answers."""
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
        """Send SIGKILL to all its processes at once, and wait until they are gone."""
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

    def kill_first(self) -> list[psutil.Process]:
        """Send SIGKILL to its first process alone. Returns: the others, which may still run."""
        assert self._process is not None, f"{self._server.name} was not started"
        [_, *others] = self._tree()
        self._process.kill()
        self._process.wait(_END_WITHIN_S)
        return others

    def freeze(self) -> None:
        """Send SIGSTOP: the kernel still accepts connections, but nothing answers."""
        self._freeze_tree()

    def thaw(self) -> None:
        """Send SIGCONT. Harmless when it is not frozen."""
        for process in self._tree():
            _send(process, signal.SIGCONT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep it frozen while the block runs."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def _freeze_tree(self) -> list[psutil.Process]:
        """Stop all processes, including those that start while others are being stopped."""
        frozen: list[psutil.Process] = []
        while born := [process for process in self._tree() if process not in frozen]:
            for process in born:
                _send(process, signal.SIGSTOP)
            frozen += born
        # The signal takes a moment to stop every thread, and a busy server may answer meanwhile.
        deadline = time.monotonic() + _END_WITHIN_S
        while not all(map(_is_stopped, frozen)):
            assert time.monotonic() < deadline, f"{self._server.name} does not stop: {frozen}"
            time.sleep(0.01)
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
    """Start `server`, which only this test uses; kill it at the end, whatever state it is in."""
    broken = Breakable(server, log)
    try:
        broken.start()
        yield broken
    finally:
        broken.kill()


def _send(process: psutil.Process, number: signal.Signals) -> None:
    # psutil makes sure that the id still belongs to the same process.
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _is_stopped(process: psutil.Process) -> bool:
    """Return whether all threads of the process have stopped, or it has ended."""
    try:
        tasks = Path(f"/proc/{process.pid}/task").glob("*/stat")
        states = {task.read_text().rpartition(")")[2].split()[0] for task in tasks}
    except OSError:
        return True
    return states <= {"T", "Z", "X"}


def _is_gone(process: psutil.Process) -> bool:
    try:
        # A zombie has ended; its new parent may take a while to reap it.
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
