"""The storm as a program: a short one is judged correct, and an interrupted one leaves nothing."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from testing.programs import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.chaos, pytest.mark.slow]


def storm(out: Path, *options: str) -> subprocess.Popen[str]:
    command = (sys.executable, "-m", "testing.storm", "--out", str(out), *options)
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_a_short_storm_is_judged_correct(tmp_path: Path) -> None:
    out = tmp_path / "history.jsonl"
    with storm(out, "--seed", "5", "--seconds", "15") as running:
        errors = running.communicate(timeout=200)[1]
    assert running.returncode == 0, errors
    checker = (sys.executable, "-I", "-S", str(ROOT / "tools/check_history.py"), str(out))
    said = subprocess.run(checker, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
    begun = [
        line
        for line in map(json.loads, out.read_text().splitlines())
        if line.get("phase") == "begin"
    ]
    assert begun


def test_an_interrupted_storm_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "history.jsonl"
    with storm(out, "--seed", "5", "--seconds", "60") as running:
        deadline_s = time.monotonic() + 120
        while not (out.exists() and '"invoke"' in out.read_text()):
            assert running.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.2)
        started = psutil.Process(running.pid).children(recursive=True)
        words = " ".join(part for each in started for part in each.cmdline())
        folders = set(re.findall(r"\S*/truepenny-storm-\w+", words))
        assert folders
        running.send_signal(signal.SIGTERM)
        errors = running.communicate(timeout=60)[1]
    assert running.returncode == 130, errors
    assert errors.endswith("storm: interrupted; all processes were ended\n")
    psutil.wait_procs(started, timeout=5)
    assert not [each for each in started if each.is_running()]
    assert not [folder for folder in folders if Path(folder).exists()]
