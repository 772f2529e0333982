"""Running stack: `make up` of a checkout, with data of its own, from start to stop.

It is used from the outside alone, so the checkout may be another version than this one: over
HTTP, in the database, and by the files that `make up` keeps in its folder.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from stack.demo.api_client import Api
from stack.servers.kept_values import KeptValues
from stack.servers.ports import LOOPBACK, free_port
from stack.servers.postgres import owner_url
from stack.servers.server import launch_command

_UP_WITHIN_S = 180.0
_DOWN_WITHIN_S = 150.0
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
"""No setting of the caller's reaches the stack: it runs on servers of its own."""


@dataclass(frozen=True)
class RunningStack:
    """A stack that runs. folder: its DATA_DIR. commit: of the checkout, with a mark if changed."""

    checkout: Path
    commit: str
    folder: Path
    admin: Api
    process: subprocess.Popen[bytes]

    @property
    def owner_url(self) -> str:
        """The URL of the database, for the role that owns the tables."""
        password = self._kept.read("postgres-password") or ""
        return owner_url(port=self._postgres_port, password=password)

    @property
    def superuser_url(self) -> str:
        """The URL of the superuser's own database on the same server."""
        password = self._kept.read("postgres-superuser-password")
        return f"postgresql://postgres:{password}@{LOOPBACK}:{self._postgres_port}/postgres"

    def client(self, api_key: str) -> Api:
        """Return the API, called with this key."""
        return Api(self.admin.host, self.admin.port, api_key)

    def pids(self) -> dict[str, int]:
        """Return the process id of every program, by the name that `make up` gives it."""
        kept = {file.stem: file.read_text().strip() for file in self._run_folder.glob("*.pace")}
        return {name: int(pid) for name, pid in kept.items() if pid}

    def log(self, name: str) -> Path:
        """Return the file with the log of a program."""
        return self.folder / "logs" / f"{name}.log"

    @property
    def _run_folder(self) -> Path:
        return self.folder / "run"

    @property
    def _kept(self) -> KeptValues:
        return KeptValues(self.folder / "secrets")

    @property
    def _postgres_port(self) -> int:
        return int(self._kept.read("postgres-port") or 0)


@contextmanager
def running_stack(checkout: Path, **settings: str) -> Iterator[RunningStack]:
    """Run `make up` of the checkout with this Python; delete its data at the end.

    settings: for its environment, beside those that a measurement needs.
    Raises: SystemExit: when it does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="truepenny-bench-"))
    folder.chmod(0o711)  # the servers' account passes through
    admin = Api(LOOPBACK, free_port(), f"tp_{secrets.token_urlsafe(32)}")
    environment = {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "DATA_DIR": str(folder),
        "HOST": LOOPBACK,
        "PORT": str(admin.port),
        "FLOWER_PORT": str(free_port()),
        "ADMIN_API_KEY": admin.key,
        "RATE_LIMIT": "none",
        "BINANCE_URLS": "fake",  # prices are refreshed as usual, without leaving loopback
        "DEMO": "no",
        **settings,
    }
    with (folder / "stack.log").open("wb") as output:
        process = subprocess.Popen(
            launch_command((sys.executable, "-m", "stack")),
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C reaches the bench, which then stops it in order
        )
    stack = RunningStack(checkout, _commit(checkout), folder, admin, process)
    try:
        _wait_until_up(stack)
        yield stack
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_DOWN_WITHIN_S)
        shutil.rmtree(folder)


def _wait_until_up(stack: RunningStack) -> None:
    deadline_s = time.monotonic() + _UP_WITHIN_S
    while True:
        with suppress(ConnectionError):
            stack.admin.probe()
            return
        if stack.process.poll() is not None or time.monotonic() > deadline_s:
            said = (stack.folder / "stack.log").read_text()
            raise SystemExit(f"the stack of {stack.checkout} does not start:\n{said[-3000:]}")
        time.sleep(0.1)


def _commit(checkout: Path) -> str:
    described = subprocess.run(
        ("git", "describe", "--always", "--dirty", "--abbrev=7"),  # noqa: S607 - the user's git
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def server_version(stack: RunningStack) -> str:
    """Return the version of PostgreSQL."""
    connection = psycopg2.connect(stack.owner_url)
    try:
        number: int = connection.server_version
    finally:
        connection.close()
    return f"{number // 10000}.{number % 10000}"
