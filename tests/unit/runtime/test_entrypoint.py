"""Container entry point: runs the program of its role with the settings it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.commands import app_commands
from runtime.entrypoint import main, role_commands
from testing.identity import IDENTITY
from testing.servers.shared import ROOT
from testing.worker_processes import eventually

URLS = {
    **IDENTITY,
    "DATABASE_URL": "postgresql://127.0.0.1:1/none",
    "BROKER_URL": "redis://127.0.0.1:1/0",
    "CACHE_URL": "redis://127.0.0.1:1/0",
}


def test_every_part_of_make_up_is_a_role_with_the_same_command() -> None:
    roles = role_commands()
    assert {name: roles[name] for name in roles if name != "migrations"} == app_commands()


def test_a_role_that_cannot_start_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert main(["api"]) == 1
    for name, value in URLS.items():
        monkeypatch.setenv(name, value)
    assert main(["cashier"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "truepenny: DATABASE_URL is not set"
    assert second.startswith("truepenny: there is no role 'cashier': it must be one of api, money")


def test_the_process_becomes_its_program(tmp_path: Path) -> None:
    """The program then gets the signals itself, and its exit code is the container's."""
    environment = {**os.environ, **URLS, "DATA_DIR": str(tmp_path)}
    command = app_commands()["beat"]
    with subprocess.Popen(
        (sys.executable, "-m", "runtime.entrypoint", "beat"),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        line = Path(f"/proc/{process.pid}/cmdline")
        eventually(lambda: line.read_text().split("\0")[:-1] == list(command))
        process.kill()
