"""API process that a test can kill, freeze and start again on the same port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from stack.servers.ports import LOOPBACK, free_port
from testing.http_client import CONFIG, ROOT, START_TIMEOUT_S


class ApiProcess:
    """One gunicorn with its workers, in a process group of its own."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._environment = {**os.environ, "RATE_LIMIT": "none", **environment}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the API and wait until it answers."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", CONFIG, "wsgi:app"],
                cwd=ROOT,
                env={**self._environment, "PORT": str(self.port)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """Send SIGKILL to all its processes. Harmless when it does not run."""
        if self._process is None:
            return
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(START_TIMEOUT_S)
        self._process = None

    @contextmanager
    def away(self) -> Iterator[None]:
        """Keep the API killed during the block."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the API during the block: the kernel accepts connections, but nothing answers."""
        assert self._process
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health/live", timeout=5).ok
        except requests.RequestException:
            return False
