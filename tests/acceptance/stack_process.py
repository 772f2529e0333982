"""Drives `make up` as a person would, and looks at the processes from the outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import requests

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = ("postgres", "broker", "cache", "api", "money", "scans", "beat", "flower")


def eventually(what: str, holds: Callable[[], bool], *, within_s: float = 60.0) -> None:
    """Wait until `holds`, and fail with `what` was waited for."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        time.sleep(0.1)


class StackProcess:
    """One `make up` with a data folder and ports of its own."""

    def __init__(self, data_dir: Path, *, port: int, flower_port: int, **settings: str) -> None:
        self.data_dir = data_dir
        self.url = f"http://127.0.0.1:{port}"
        self.flower_url = f"http://127.0.0.1:{flower_port}"
        self.output: list[str] = []
        unset = ("DATABASE_URL", "BROKER_URL", "CACHE_URL", "HOST", "FLOWER_BASIC_AUTH")
        inherited = {name: value for name, value in os.environ.items() if name not in unset}
        ports = {"PORT": str(port), "FLOWER_PORT": str(flower_port)}
        self.environment = {**inherited, "DATA_DIR": str(data_dir), **ports, **settings}

    def start(self) -> None:
        """Type `make up`."""
        self.output = []
        self.process = subprocess.Popen(
            ["make", "--no-print-directory", "up"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # as a terminal has it: Ctrl-C reaches make and all below
        )
        threading.Thread(target=self._read, daemon=True).start()

    def wait_until_up(self) -> None:
        """Wait for the curl line."""
        eventually(
            "the curl line", lambda: self.process.poll() is not None or bool(self.curl_line())
        )
        assert self.process.poll() is None, self.text()

    def text(self) -> str:
        return "".join(self.output)

    def curl_line(self) -> str | None:
        found = re.search(r"^curl .*?}'$", self.text(), re.MULTILINE | re.DOTALL)
        return found and found[0]

    def shown(self, label: str) -> str:
        """What stands behind a label of the printed summary."""
        found = re.search(rf"^  {label}\s+(.*)$", self.text(), re.MULTILINE)
        assert found, f"no {label} in: {self.text()}"
        return found[1]

    def processes(self) -> list[psutil.Process]:
        """All processes below `make`, and itself."""
        make = psutil.Process(self.process.pid)
        return [make, *make.children(recursive=True)]

    def pid_of(self, program: str) -> int:
        """The process that the process manager started last under this name."""
        log = (self.data_dir / "logs" / "supervisord.log").read_text()
        return int(re.findall(rf"spawned: '{program}' with pid (\d+)", log)[-1])

    def transfer(self) -> requests.Response:
        """Move money between the demo wallets, with a new idempotency key."""
        line = self.curl_line()
        assert line
        body = re.search(r"-d '(.*)'$", line)
        assert body
        headers = {
            "Authorization": f"Bearer {self.shown('demo key')}",
            "Content-Type": "application/json",
            "Idempotency-Key": os.urandom(8).hex(),
            "Prefer": "wait=5",
        }
        return requests.post(f"{self.url}/v1/transfers", body[1], headers=headers, timeout=20)

    def settles_a_transfer(self) -> bool:
        """Whether a new transfer is committed within its five seconds."""
        try:
            return bool(self.transfer().status_code == requests.codes.created)
        except requests.ConnectionError:
            return False

    def press_ctrl_c(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def stop(self) -> None:
        """Press Ctrl-C, if that has not been done, and wait for the end."""
        if self.process.poll() is None:
            self.press_ctrl_c()
            self.process.wait(60)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output.append(line)


def run_make_up(stack: StackProcess) -> subprocess.CompletedProcess[str]:
    """Type `make up` where it is expected to fail, and wait for its end."""
    return subprocess.run(
        ["make", "--no-print-directory", "up"],
        cwd=ROOT,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def complaints(result: subprocess.CompletedProcess[str]) -> list[str]:
    """What the stack itself said, without make's own line."""
    said = (result.stdout + result.stderr).splitlines()
    return [line for line in said if not line.startswith("make: ***")]
