"""HTTP client for tests: sends real requests to a real gunicorn process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from stack.servers.ports import LOOPBACK, free_port
from stack.servers.server import launch_command
from testing.identity import IDENTITY

ROOT = Path(__file__).parents[1]
CONFIG = "api/gunicorn.conf.py"
START_TIMEOUT_S = 30
KILL, STOP = "kill", "stop"
_IS_MEASURED = "COVERAGE_PROCESS_CONFIG" in os.environ
"""By `make coverage`, to which a killed process reports nothing."""


@dataclass
class Caller:
    """Calls one server with one API key, or with none."""

    port: int
    api_key: str | None = None
    session: requests.Session = field(default_factory=requests.Session, repr=False)

    def __call__(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: Any = None,
        headers: dict[str, Any] | None = None,
    ) -> requests.Response:
        given = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return self.session.request(
            method,
            f"http://{LOOPBACK}:{self.port}{path}",
            json=json,
            data=data,
            headers=given | (headers or {}),
            timeout=30,
        )

    def get(self, path: str, **headers: str) -> requests.Response:
        return self("GET", path, headers=headers)

    def post(self, path: str, json: Any = None, **headers: str) -> requests.Response:
        return self("POST", path, json=json, headers=headers)

    def submit(
        self, body: dict[str, Any], *, key: str | None = None, prefer: str | None = None
    ) -> requests.Response:
        """Post a transfer, with a new idempotency key unless one is given."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        if prefer is not None:
            headers["Prefer"] = prefer
        return self("POST", "/v1/transfers", json=body, headers=headers)

    def raw(self, request: bytes) -> bytes:
        """Send raw bytes and read until the server closes the connection."""
        with socket.create_connection((LOOPBACK, self.port), timeout=30) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextmanager
def serving(
    *, log: Path, config: str = CONFIG, end: str = KILL, **environment: str
) -> Iterator[int]:
    """Run gunicorn as `make up` does, on a free port. Yields: the port.

    It has no rate limit unless one is given, because most tests send many requests. Its metrics
    are in a folder of its own unless DATA_DIR is given.

    It is killed at the end. To end gracefully, each of its processes tears down an interpreter,
    which takes as long as to start it.

    end: STOP ends it by SIGTERM, where a test is about that.
    """
    port = free_port()
    own = {**IDENTITY, "RATE_LIMIT": "none", "DATA_DIR": str(log.with_suffix(".data"))}
    with log.open("wb") as output:
        process = subprocess.Popen(
            launch_command((sys.executable, "-m", "gunicorn", "-c", config, "wsgi:app")),
            cwd=ROOT,
            env={**os.environ, **own, **environment, "PORT": str(port)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # to be killed whole
        )
    try:
        _await_answer(process, Caller(port), log)
        yield port
    finally:
        if end == STOP or _IS_MEASURED:
            process.terminate()
        elif process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=START_TIMEOUT_S)


def _await_answer(process: subprocess.Popen[bytes], caller: Caller, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if caller.get("/health/live").ok:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")
