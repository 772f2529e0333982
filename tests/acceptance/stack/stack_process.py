"""Stack process: runs `make up` as a user does, and inspects its processes from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests

from stack.servers.ports import free_port

ROOT = Path(__file__).parents[3]
MAKE_UP = ("make", "--no-print-directory", "up")
# Variables that would change the stack under test, and those that `make test` passes on.
UNSET = {
    *("DATABASE_URL", "MIGRATIONS_DATABASE_URL", "BROKER_URL", "CACHE_URL", "HOST"),
    *("ADMIN_API_KEY", "FLOWER_BASIC_AUTH", "INSTALLATION_ID", "INTAKE_SECRET"),
    "DEMO",
    *("BINANCE_URLS", "PRICE_SYMBOLS", "FALLBACK_PRICES", "PRICE_JUMP_LIMIT", "KEEP_PRICES"),
    *("MAKEFLAGS", "MAKELEVEL", "MFLAGS"),
}
# Prices as on a machine without internet, wherever the tests run.
NO_BINANCE = {"BINANCE_URLS": "http://127.0.0.1:1"}
PROGRAMS = ("postgres", "broker", "cache", "api", "money", "scans", "beat", "flower")


def eventually(what: str, holds: Callable[[], bool], *, within_s: float = 120.0) -> None:
    """Wait until `holds` is true. Fails with `what` as the message."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        time.sleep(0.1)


class StackProcess:
    """One `make up` with a data folder and ports of its own."""

    def __init__(self, data_dir: Path, *, port: int, flower_port: int) -> None:
        self.data_dir = data_dir
        self.url = f"http://127.0.0.1:{port}"
        self.flower_url = f"http://127.0.0.1:{flower_port}"
        inherited = {name: value for name, value in os.environ.items() if name not in UNSET}
        ports = {"PORT": str(port), "FLOWER_PORT": str(flower_port)}
        self.environment = {**inherited, **NO_BINANCE, "DATA_DIR": str(data_dir), **ports}
        self._output: list[str] = []
        self._make: subprocess.Popen[str] | None = None
        self._reader = threading.Thread()

    def start(self) -> None:
        """Run `make up`."""
        self._make = subprocess.Popen(
            MAKE_UP,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # as in a terminal: Ctrl-C reaches make and all its children
        )
        self._output = []
        self._reader = threading.Thread(target=self._read, args=[self._make], daemon=True)
        self._reader.start()

    @property
    def make(self) -> subprocess.Popen[str]:
        assert self._make, "not started yet"
        return self._make

    def wait_until_up(self) -> None:
        """Wait until the curl line was printed."""
        self._wait("the curl line", lambda: bool(self.curl_line()))

    def wait_for(self, line: str) -> None:
        """Wait until this text was printed."""
        self._wait(line, lambda: line in self.text())

    def _wait(self, what: str, holds: Callable[[], bool]) -> None:
        eventually(what, lambda: self.make.poll() is not None or holds(), within_s=150)
        assert self.make.poll() is None, self.text()

    def text(self) -> str:
        """Return what it has printed since its start."""
        return "".join(self._output)

    def curl_line(self) -> str | None:
        found = re.search(r"^curl .*?}'$", self.text(), re.MULTILINE | re.DOTALL)
        return found and found[0]

    def shown(self, label: str) -> str:
        """Return the value behind a label of the printed summary."""
        found = re.search(rf"^  {label}\s+(.*)$", self.text(), re.MULTILINE)
        assert found, f"no {label} in: {self.text()}"
        return found[1]

    def processes(self) -> list[psutil.Process]:
        """Return `make` and all its descendants."""
        make = psutil.Process(self.make.pid)
        return [make, *make.children(recursive=True)]

    def pid_of(self, program: str) -> int:
        """Return the process that supervisor started last under this name."""
        log = (self.data_dir / "logs" / "supervisord.log").read_text()
        return int(re.findall(rf"spawned: '{program}' with pid (\d+)", log)[-1])

    def transfer(self, *, wait_s: int = 5) -> requests.Response:
        """Move a cent between the demo wallets, with a new idempotency key.

        Not more, because a test that waits for the end of an outage sends many.
        """
        printed = re.search(r"-d '(.*)'$", self.curl_line() or "")
        assert printed
        body = json.loads(printed[1]) | {"amount": "0.01"}
        headers = {
            "Authorization": f"Bearer {self.shown('demo key')}",
            "Content-Type": "application/json",
            "Idempotency-Key": os.urandom(8).hex(),
            "Prefer": f"wait={wait_s}",
        }
        return requests.post(
            f"{self.url}/v1/transfers", json.dumps(body), headers=headers, timeout=40
        )

    def get(self, path: str) -> dict[str, Any]:
        """Call the API as the demo client."""
        headers = {"Authorization": f"Bearer {self.shown('demo key')}"}
        answer = requests.get(f"{self.url}{path}", headers=headers, timeout=20)
        document: dict[str, Any] = answer.json()
        return document

    def price_sources(self) -> set[str]:
        return {price["source"] for price in self.get("/v1/prices")["data"]}

    def beats_for_a_while(self, program: str) -> bool:
        """Return whether the heartbeat file was touched some seconds after the last start."""
        run = self.data_dir / "run"
        started, heartbeat = run / f"{program}.pace", run / "heartbeats" / program
        return heartbeat.exists() and heartbeat.stat().st_mtime > started.stat().st_mtime + 4

    def state_of(self, transfer_id: str) -> str:
        return str(self.get(f"/v1/transfers/{transfer_id}")["state"])

    def settles_a_transfer(self) -> bool:
        """Return whether a new transfer commits while its client waits; safe on a busy machine."""
        try:
            return bool(self.transfer(wait_s=20).status_code == requests.codes.created)
        except requests.ConnectionError:
            return False

    def press_ctrl_c(self) -> None:
        os.killpg(self.make.pid, signal.SIGINT)

    def wait(self) -> None:
        """Wait until `make` and every process that writes to its output have ended."""
        self.make.wait(90)
        self._reader.join(90)

    def stop(self) -> None:
        """Press Ctrl-C if it is running, and wait for the end."""
        if self._make is not None and self._make.poll() is None:
            self.press_ctrl_c()
            self.wait()

    def _read(self, make: subprocess.Popen[str]) -> None:
        assert make.stdout
        with make.stdout:
            self._output.extend(make.stdout)


def run_make_up(stack: StackProcess) -> subprocess.CompletedProcess[str]:
    """Run `make up` where it must fail, and wait for its end."""
    return subprocess.run(
        MAKE_UP,
        cwd=ROOT,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def complaints(result: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the stack's own output, without the line of `make`."""
    said = (result.stdout + result.stderr).splitlines()
    return [line for line in said if not line.startswith("make: ***")]


def new_stack(data_dir: Path) -> StackProcess:
    return StackProcess(data_dir, port=free_port(), flower_port=free_port())


def wallet_of(stack: StackProcess, role: str, transfer: dict[str, Any]) -> dict[str, Any]:
    response = requests.get(
        f"{stack.url}/v1/wallets/{transfer[role]}",
        headers={"Authorization": f"Bearer {stack.shown('demo key')}"},
        timeout=10,
    )
    wallet: dict[str, Any] = response.json()
    return wallet


def gone(processes: list[psutil.Process]) -> bool:
    """Return whether all have ended; psutil detects a later process with the same id."""
    return not any(process.is_running() for process in processes)
