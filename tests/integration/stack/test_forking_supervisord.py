"""Process manager: programs of the application are forks that behave as if they were executed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from runtime.commands import app_commands
from stack.processes.programs import Program
from stack.processes.supervisor import configuration
from stack.servers.server import launch_command
from testing.identity import IDENTITY
from testing.programs import ROOT
from testing.worker_processes import eventually

BEAT = app_commands()["beat"]
URLS = {
    "DATABASE_URL": "postgresql://127.0.0.1:1/none",
    "BROKER_URL": "redis://127.0.0.1:1/0",
    "CACHE_URL": "redis://127.0.0.1:1/0",
}
OWN_MODULES_MB = 40
"""What beat takes at least when it loads its modules itself."""


class Managed:
    """A manager with beat, which needs no server, and one executed program."""

    def __init__(self, folder: Path, *, beat: tuple[str, ...] = BEAT) -> None:
        self.folder = folder
        self.ready = folder / "run" / "ready"
        for name in ("run", "logs"):
            (folder / name).mkdir()
        options = ("--after", str(self.ready), "--pace", str(folder / "run" / "beat.pace"))
        text = configuration(
            servers=[Program("other", launch_command(("sleep", "600")))],
            app=[Program("beat", launch_command(beat, *options))],
            directory=ROOT,
        )
        file = folder / "run" / "supervisord.conf"
        file.write_text(text)
        self.process = psutil.Popen(
            launch_command(
                (sys.executable, "-m", "stack.processes.forking_supervisord", str(file))
            ),
            cwd=ROOT,
            env={**os.environ, **IDENTITY, **URLS, "DATA_DIR": str(folder), "OWN": "value"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def pids(self, name: str) -> list[int]:
        log = self.folder / "logs" / "supervisord.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [int(line.split()[-1]) for line in lines if f"spawned: '{name}'" in line]

    def beat(self) -> psutil.Process:
        """Return beat once it works."""
        heartbeat = self.folder / "run" / "heartbeats" / "beat"
        eventually(lambda: heartbeat.exists() and heartbeat.stat().st_mtime > time.time() - 3)
        return psutil.Process(self.pids("beat")[-1])

    def log(self, name: str) -> str:
        file = self.folder / "logs" / f"{name}.log"
        return file.read_text() if file.exists() else ""


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[Managed]:
    started = Managed(tmp_path)
    yield started
    if started.process.is_running():
        started.process.terminate()
        started.process.wait(30)


def test_a_program_waits_and_then_shows_its_own_command(managed: Managed) -> None:
    eventually(lambda: bool(managed.pids("beat")))
    waiting = psutil.Process(managed.pids("beat")[0])
    time.sleep(0.3)
    assert not (managed.folder / "run" / "heartbeats").exists()
    managed.ready.touch()
    beat = managed.beat()
    assert beat == waiting
    shown = [part for part in beat.cmdline() if part]
    assert shown == list(BEAT)
    assert beat.ppid() == managed.process.pid
    assert os.getpgid(beat.pid) == beat.pid
    assert int((managed.folder / "run" / "beat.pace").read_text()) == beat.pid
    assert beat.cwd() == str(ROOT)
    assert beat.environ()["OWN"] == "value"


def test_a_program_shares_the_memory_of_its_modules(managed: Managed) -> None:
    managed.ready.touch()
    beat = managed.beat()
    own_mb = beat.memory_full_info().uss / 2**20
    assert own_mb < OWN_MODULES_MB / 2


def test_other_programs_are_executed(managed: Managed) -> None:
    eventually(lambda: bool(managed.pids("other")))
    other = psutil.Process(managed.pids("other")[0])
    eventually(lambda: other.cmdline() == ["sleep", "600"])


def test_a_program_that_is_killed_starts_again_and_ends_in_order(managed: Managed) -> None:
    managed.ready.touch()
    first = managed.beat()
    first.kill()
    eventually(lambda: len(managed.pids("beat")) == 2)
    heartbeat = managed.folder / "run" / "heartbeats" / "beat"
    heartbeat.unlink()
    second = managed.beat()
    assert second != first
    managed.process.terminate()
    assert managed.process.wait(20) == 0
    assert not second.is_running()
    assert "exited: beat (terminated by SIGKILL" in managed.log("supervisord")
    assert "stopped: beat (exit status 0)" in managed.log("supervisord")


def test_programs_end_with_the_manager(managed: Managed) -> None:
    managed.ready.touch()
    beat = managed.beat()
    managed.process.send_signal(signal.SIGKILL)
    eventually(lambda: not beat.is_running() or beat.status() == psutil.STATUS_ZOMBIE)


def test_a_program_that_cannot_start_says_why_and_its_exit_code_is_its_own(
    tmp_path: Path,
) -> None:
    """An API without a database that accepts it: one line, as when it is executed."""
    managed = Managed(tmp_path, beat=app_commands()["flower"])
    try:
        managed.ready.touch()
        eventually(lambda: "exited: beat (exit status 1" in managed.log("supervisord"))
        assert managed.log("beat").splitlines()[0] == (
            "flower: FLOWER_BASIC_AUTH is not set: Flower needs a password"
        )
    finally:
        managed.process.terminate()
        managed.process.wait(30)
