"""Health probe of a container: what counts as a hang, and when it kills nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from monitoring.heartbeats import heartbeat_files
from runtime.health_probe import end_program, hangs, running_s
from testing.identity import IDENTITY
from testing.servers.shared import ROOT
from testing.worker_processes import eventually

URLS = {
    **IDENTITY,
    "DATABASE_URL": "postgresql://127.0.0.1:1/none",
    "BROKER_URL": "redis://127.0.0.1:1/0",
    "CACHE_URL": "redis://127.0.0.1:1/0",
}


@pytest.mark.parametrize(
    ("age_s", "running_s", "hung_after_s", "hung"),
    [
        (0.0, 1.0, 30.0, False),
        (29.0, 500.0, 30.0, False),
        (31.0, 500.0, 30.0, True),
        (None, 59.0, 30.0, False),  # still starting
        (None, 61.0, 30.0, True),
        (None, 61.0, 90.0, False),
        (None, 91.0, 90.0, True),
    ],
)
def test_what_counts_as_a_hang(
    age_s: float | None, running_s: float, hung_after_s: float, hung: bool
) -> None:
    assert hangs(age_s, running_s, hung_after_s=hung_after_s) is hung


def probe(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **URLS, "DATA_DIR": str(folder), "HUNG_AFTER_S": "10"}
    return subprocess.run(
        (sys.executable, "-m", "runtime.health_probe", "money"),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_fresh_heartbeat_is_health(tmp_path: Path) -> None:
    heartbeat_files.HeartbeatFile(heartbeat_files.folder(tmp_path), "money").touch()
    said = probe(tmp_path)
    assert (said.returncode, said.stdout.partition(" 0.")[0]) == (0, "money: heartbeat")


def test_outside_a_container_nothing_is_killed(tmp_path: Path) -> None:
    file = heartbeat_files.HeartbeatFile(heartbeat_files.folder(tmp_path), "money")
    file.touch()
    set_back(heartbeat_files.folder(tmp_path) / "money", 100)
    said = probe(tmp_path)
    assert said.returncode == 1
    assert "so this is not one of our containers" in said.stdout


def test_a_process_that_is_stopping_is_not_killed(tmp_path: Path) -> None:
    """A stopping worker no longer beats, and its last task may take a minute."""
    folder = heartbeat_files.folder(tmp_path)
    _note_ending_of("money@here", tmp_path)
    assert heartbeat_files.is_ending(folder, "money")
    file = heartbeat_files.HeartbeatFile(folder, "money")
    file.touch()
    set_back(folder / "money", 50)
    set_back(folder / "money.ending", 49)
    assert probe(tmp_path).stdout == "money is shutting down\n"
    set_back(folder / "money.ending", 91)
    assert not heartbeat_files.is_ending(folder, "money")  # its time is over
    set_back(folder / "money.ending", 49)
    file.touch()
    assert not heartbeat_files.is_ending(folder, "money")  # another process has started since


def set_back(file: Path, by_s: float) -> None:
    os.utime(file, (time.time() - by_s,) * 2)


def _note_ending_of(hostname: str, data_dir: Path) -> None:
    """Send the signal that Celery's handler of SIGTERM sends."""
    program = (
        "import sys; from celery import Celery, signals; from workers import lifecycle;"
        "lifecycle.install(Celery());"
        "signals.worker_shutting_down.send(sender=sys.argv[1], sig='TERM', how='Warm', exitcode=0)"
    )
    environment = {**os.environ, **URLS, "DATA_DIR": str(data_dir)}
    subprocess.run((sys.executable, "-c", program, hostname), cwd=ROOT, env=environment, check=True)


def test_in_a_container_the_child_of_the_first_process_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(("sleep", "60")) as program:
        (tmp_path / "task" / "1").mkdir(parents=True)
        (tmp_path / "comm").write_text("docker-init\n")
        (tmp_path / "task" / "1" / "children").write_text(f"{program.pid} ")
        end_program(tmp_path)
        assert program.wait(timeout=60) == -9


def test_how_long_a_process_has_run() -> None:
    with subprocess.Popen(("sleep", "60")) as program:
        eventually(lambda: 0.1 < running_s(program.pid) < 60)
        program.kill()
