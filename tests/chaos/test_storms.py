"""Storms with fixed seeds: together they break all that can be broken, and the checker agrees.

The rest of `make chaos` is chance; these are the same in every run. Two planted bugs show that
the checker can say no; `make planted-bugs` has the others.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from testing.programs import ROOT
from testing.storm.planted import BUGS, judge
from tests.unit.storm.test_plan import FIXED

END_WITHIN_S = 220


@pytest.mark.parametrize(("seed", "seconds", "broker_kind"), FIXED)
def test_a_storm_loses_doubles_and_makes_up_no_money(
    tmp_path: Path, seed: int, seconds: int, broker_kind: str
) -> None:
    out = tmp_path / "history.jsonl"
    options = ("--seed", str(seed), "--seconds", str(seconds), "--broker", broker_kind)
    storm = subprocess.run(
        (sys.executable, "-m", "testing.storm", *options, "--out", str(out)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=END_WITHIN_S,
    )
    checker = (sys.executable, "-I", "-S", str(ROOT / "tools" / "check_history.py"), str(out))
    said = subprocess.run(checker, capture_output=True, text=True, check=False, timeout=60)
    assert (storm.returncode, said.returncode) == (0, 0), said.stdout + storm.stderr


@pytest.mark.parametrize(
    "name", ["a double credit", "an acknowledged buffer entry that is dropped"]
)
def test_a_planted_bug_is_caught_within_a_minute(name: str) -> None:
    verdict = judge(BUGS[name])
    assert verdict.is_caught, verdict.text
    assert verdict.lived_s is not None
    assert verdict.lived_s < 60
