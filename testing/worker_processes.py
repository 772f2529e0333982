"""Worker processes: starts real Celery processes that a test can kill with their children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from stack.servers.server import launch_command
from testing.identity import IDENTITY
from testing.programs import ROOT

START_WITHIN_S = 40.0
STUCK_AFTER_S = 1.0

MONEY = ("worker", "-Q", "money.advance,money.reserve", "-c", "2", "-n", "money%i@%h")
SCANS = ("worker", "-Q", "scans", "-c", "1", "-n", "scans@%h")
BEAT = ("beat",)


def eventually(
    what: Callable[[], object], *, within_s: float = 20.0, report: Callable[[], str] = str
) -> None:
    """Wait until `what` is true. Fails when it is not true in time, with the `report`."""
    deadline = time.monotonic() + within_s
    while not what():
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen within {within_s} s: {what}\n{report()}")
        time.sleep(0.02)


@dataclass
class CeleryProcess:
    """One `python -m workers …` with its children, in a process group of its own."""

    process: subprocess.Popen[bytes]
    log: Path
    arguments: tuple[str, ...]

    @property
    def is_beat(self) -> bool:
        return self.arguments == BEAT

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def is_money_alive(self) -> bool:
        return self.arguments == MONEY and self.is_alive

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return " ready." in self.log.read_text()

    def kill_group(self) -> None:
        """Send SIGKILL to the worker and all its children at once."""
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        if self.is_alive:
            os.killpg(self.pid, signal.SIGCONT)
            self.kill_group()


@dataclass
class Workers:
    """Starts Celery processes on one database and one broker."""

    environment: dict[str, str]
    folder: Path
    started: list[CeleryProcess]

    def start(self, arguments: tuple[str, ...]) -> CeleryProcess:
        log = self.folder / f"celery-{len(self.started)}.log"
        celery = (sys.executable, "-m", "workers", *arguments)
        with log.open("wb") as output:
            process = subprocess.Popen(
                launch_command(celery),
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        started = CeleryProcess(process, log, arguments)
        self.started.append(started)
        return started

    def ready(self, *arguments: tuple[str, ...]) -> list[CeleryProcess]:
        processes = [self.start(each) for each in arguments]
        for process in processes:
            eventually(process.is_ready, within_s=START_WITHIN_S)
        return processes


@contextmanager
def workers_on(
    database_url: str, broker_url: str, cache_url: str, folder: Path
) -> Iterator[Workers]:
    environment = {
        **os.environ,
        **IDENTITY,
        "DATABASE_URL": database_url,
        "BROKER_URL": broker_url,
        "CACHE_URL": cache_url,
        "DATA_DIR": str(folder),
        "STUCK_AFTER_S": str(STUCK_AFTER_S),
        "PYTHONWARNINGS": "ignore",
    }
    workers = Workers(environment, folder, [])
    try:
        yield workers
    finally:
        for process in workers.started:
            process.stop()
