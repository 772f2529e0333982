"""Storms with fixed seeds: together they break all that can be broken, and the checker agrees.

The rest of `make chaos` is chance; these are the same in every run. The short ones run with all
tests, the others with `make storms`. Two planted bugs show that the checker can say no;
`make planted-bugs` has the others.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from testing.programs import ROOT
from testing.servers.brokers import KINDS
from testing.storm.planted import BUGS, judge
from tests.unit.storm.test_plan import FIXED

pytestmark = [pytest.mark.acceptance, pytest.mark.chaos, pytest.mark.slow]

END_WITHIN_S = 220


def storm(out: Path, *options: str) -> subprocess.Popen[str]:
    command = (sys.executable, "-m", "testing.storm", "--out", str(out), *options)
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


LONG = [pytest.param(*fixed, marks=pytest.mark.storm) for fixed in FIXED]
SHORT = [(1, 30, kind) for kind in KINDS]


@pytest.mark.parametrize(("seed", "seconds", "kind"), [*SHORT, *LONG])
def test_a_storm_loses_doubles_and_makes_up_no_money(
    tmp_path: Path, seed: int, seconds: int, kind: str
) -> None:
    out = tmp_path / "history.jsonl"
    options = ("--seed", str(seed), "--seconds", str(seconds), "--broker", kind)
    with storm(out, *options) as running:
        errors = running.communicate(timeout=END_WITHIN_S)[1]
    checker = (sys.executable, "-I", "-S", str(ROOT / "tools" / "check_history.py"), str(out))
    said = subprocess.run(checker, capture_output=True, text=True, check=False, timeout=60)
    assert (running.returncode, said.returncode) == (0, 0), said.stdout + errors


@pytest.mark.storm
@pytest.mark.parametrize(
    "name", ["a double credit", "an acknowledged buffer entry that is dropped"]
)
def test_a_planted_bug_is_caught_within_a_minute(name: str) -> None:
    verdict = judge(BUGS[name])
    assert verdict.is_caught, verdict.text
    assert verdict.lived_s is not None
    assert verdict.lived_s < 60


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
