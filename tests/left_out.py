"""Skips the tests whose program is not installed, and says so in one line at the end of the run.

With CI=true nothing is skipped: a run that lacks a program ends before its first test.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator

import pytest
from _pytest.terminal import TerminalReporter

from tests import programs
from tests.programs import MissingProgram, how_to_get

_PROPERTY = "missing program"
"""A property of a test's report; lanes send it to the process that prints the summary."""
_FOLDED = (__file__, 1)
"""All skipped tests name this place, so that pytest's summary has one line per program."""


def pytest_configure(config: pytest.Config) -> None:
    """End a run in CI that lacks a program.

    Raises: pytest.UsageError: pytest prints it as one line.
    """
    if not in_ci() or hasattr(config, "workerinput"):
        return
    missing = [program for program in programs.PROGRAMS if program.find() is None]
    if missing:
        names = ", ".join(program.name for program in missing)
        raise pytest.UsageError(
            f"with CI=true no test is skipped, and these are not installed: {names}."
            f" To get them: {how_to_get(missing)}"
        )


def in_ci() -> bool:
    """Whether an environment that builds the project set CI, as most of them do."""
    return os.environ.get("CI", "").lower() in ("true", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report a test as skipped when it, or one of its fixtures, asked for a missing program."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, MissingProgram) and not in_ci():
        program = call.excinfo.value.program
        path, line = _FOLDED
        report.outcome = "skipped"
        report.longrepr = (path, line, f"{program.name} is not installed")
        report.user_properties.append((_PROPERTY, program.name))
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: TerminalReporter) -> Iterator[None]:
    """Print, below everything else, what was left out, for lack of what, and how to get it."""
    yield
    skipped = terminalreporter.getreports("skipped")
    counts = Counter(
        str(name) for report in skipped for key, name in report.user_properties if key == _PROPERTY
    )
    if counts:
        terminalreporter.write_line(closing_line(counts), yellow=True, bold=True)


def closing_line(counts: Counter[str]) -> str:
    """The line for these numbers of skipped tests, by the name of the program."""
    missing = [program for program in programs.PROGRAMS if program.name in counts]
    listed = ", ".join(f"{program.name} ({counts[program.name]})" for program in missing)
    total = counts.total()
    tests = "1 test was" if total == 1 else f"{total} tests were"
    return f"{tests} left out, because not installed: {listed}. To run all: {how_to_get(missing)}"
