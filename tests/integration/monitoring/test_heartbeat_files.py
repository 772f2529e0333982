"""Heartbeat files, and the command that checks one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from monitoring.heartbeats import heartbeat_files, liveness
from monitoring.heartbeats.heartbeat_files import HeartbeatFile
from testing.identity import IDENTITY
from testing.servers.shared import ROOT


def look(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run the command. Returns: the exit code and its one line of output."""
    code = liveness.main(arguments)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    return code, said


def test_a_file_that_was_just_touched_is_fresh(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    HeartbeatFile(tmp_path / "made when needed", "money").touch()
    code, said = look(capsys, "money", "--folder", str(tmp_path / "made when needed"))
    assert code == 0
    assert said.startswith("money: heartbeat 0.")


@pytest.mark.parametrize(
    ("touched_s_ago", "within_s", "code"),
    [(0, 5, 0), (4, 5, 0), (8, 5, 1), (31, None, 1), (-3600, 5, 1)],
)
def test_a_file_is_fresh_within_its_time_and_never_from_the_future(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    touched_s_ago: float,
    within_s: float | None,
    code: int,
) -> None:
    HeartbeatFile(tmp_path, "beat").touch()
    os.utime(tmp_path / "beat", times=(time.time() - touched_s_ago,) * 2)
    within = () if within_s is None else ("--within", str(within_s))
    assert look(capsys, "beat", "--folder", str(tmp_path), *within)[0] == code


def test_no_file_is_no_sign_of_life(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = look(capsys, "scans", "--folder", str(tmp_path))
    assert (code, said) == (1, f"scans: no heartbeat in {tmp_path}\n")


@pytest.mark.parametrize("name", ["../up", "", ".hidden", "a/b", "x" * 65])
def test_a_name_that_cannot_be_a_file_name_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, said = look(capsys, name, "--folder", str(tmp_path))
    assert code == 1
    assert said.startswith("cannot check: a heartbeat cannot be called")


def test_a_touch_makes_a_deleted_folder_again(tmp_path: Path) -> None:
    heartbeat = HeartbeatFile(tmp_path / "heartbeats", "money")
    heartbeat.touch()
    (tmp_path / "heartbeats" / "money").unlink()
    (tmp_path / "heartbeats").rmdir()
    heartbeat.touch()
    assert heartbeat_files.age_s(tmp_path / "heartbeats", "money") is not None


def test_the_command_finds_the_folder_of_this_machine_by_itself(tmp_path: Path) -> None:
    addresses = {
        **IDENTITY,
        "DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "CACHE_URL": "redis://127.0.0.1:1/0",
        "DATA_DIR": str(tmp_path),
    }
    HeartbeatFile(heartbeat_files.folder(tmp_path), "money").touch()
    for name, code in (("money", 0), ("scans", 1)):
        command = [sys.executable, "-m", "monitoring.heartbeats.liveness", name]
        result = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **addresses}, check=False, timeout=30
        )
        assert result.returncode == code
