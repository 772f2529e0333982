"""Left-out tests: a small suite that needs a missing program, run as `make test` runs ours."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from testing.programs import KUSTOMIZE, PROGRAMS, PROMTOOL, RABBITMQ, how_to_get
from testing.servers.shared import ROOT

CONFTEST = """
import pytest
from testing import programs

ABSENT = programs.Program("Absent", ("no-such-program",), "absent")
AWAY = programs.Program("Away", ("/no/such/program",), "golang-go", then="make away")
SHELL = programs.Program("Shell", ("/no/such/shell", "sh"), "dash")
programs.PROGRAMS = (ABSENT, AWAY, SHELL)

@pytest.fixture(scope="session")
def absent():
    return ABSENT.path()
"""
TESTS = """
from conftest import AWAY, SHELL

def test_of_a_fixture(absent): pass
def test_of_the_same_fixture(absent): pass
def test_of_a_program(): AWAY.path()
def test_of_a_shell(): assert SHELL.path().name == "sh"
"""
CLOSING_LINE = (
    "3 tests were left out, because not installed: Absent (2), Away (1)."
    " To run all: apt-get install absent golang-go && make away"
)


def run(folder: Path, *options: str, ci: str = "") -> subprocess.CompletedProcess[str]:
    for name, content in {
        "conftest.py": CONFTEST,
        "test_first.py": TESTS,
        "pytest.ini": "[pytest]\n",
    }.items():
        (folder / name).write_text(content)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "testing.suite.left_out", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("lanes", [[], ["--numprocesses", "2"]], ids=["alone", "in-lanes"])
def test_left_out_tests_are_reported_once_and_last(tmp_path: Path, lanes: list[str]) -> None:
    done = run(tmp_path, *lanes)
    *_, closing, counts = done.stdout.splitlines()
    assert closing == CLOSING_LINE
    assert "1 passed, 3 skipped" in counts
    assert done.stdout.count("To run all") == 1
    assert done.returncode == 0


def test_without_left_out_tests_nothing_is_reported(tmp_path: Path) -> None:
    done = run(tmp_path, "-k", "shell")
    assert "left out" not in done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("lanes", [[], ["--numprocesses", "2"]], ids=["alone", "in-lanes"])
def test_a_missing_program_ends_a_run_in_ci_before_its_first_test(
    tmp_path: Path, lanes: list[str]
) -> None:
    done = run(tmp_path, *lanes, ci="true")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr.strip() == (
        "ERROR: with CI=true no test is skipped, and these are not installed: Absent, Away."
        " To get them: apt-get install absent golang-go && make away"
    )
    assert "passed" not in done.stdout


def test_one_command_gets_all_packages() -> None:
    assert how_to_get([RABBITMQ, KUSTOMIZE, PROMTOOL]) == (
        "apt-get install rabbitmq-server golang-go prometheus && make kustomize"
    )


def test_no_test_starts_these_programs_by_itself() -> None:
    """A test that gets the path from testing/programs.py is skipped when it is missing."""
    places = {place for program in PROGRAMS for place in program.places}
    names = places | {Path(place).name for place in places}
    home = {ROOT / "testing" / "programs.py", ROOT / "tests" / "containers" / "__main__.py"}
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for part in ("testing", "tests", "bench")
        for path in sorted({*(ROOT / part).rglob("*.py")} - home)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not wrong
