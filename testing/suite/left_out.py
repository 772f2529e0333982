"""Left-out tests: skips tests whose program is not installed, and reports them in one line.

With CI=true nothing is skipped: a run that lacks a program ends before its first test.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator

import pytest
from _pytest.terminal import TerminalReporter

from testing import programs
from testing.programs import MissingProgram, how_to_get

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
    """Return whether CI is set, as most build systems do."""
    return os.environ.get("CI", "").lower() in ("true", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report a test as skipped when it or one of its fixtures asked for a missing program."""
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
    """Print last how many tests were left out, what is missing, and how to get it."""
    yield
    skipped = terminalreporter.getreports("skipped")
    counts = Counter(
        str(name) for report in skipped for key, name in report.user_properties if key == _PROPERTY
    )
    if counts:
        terminalreporter.write_line(closing_line(counts), yellow=True, bold=True)


def closing_line(counts: Counter[str]) -> str:
    """Return the line for these numbers of skipped tests, by program name."""
    missing = [program for program in programs.PROGRAMS if program.name in counts]
    listed = ", ".join(f"{program.name} ({counts[program.name]})" for program in missing)
    total = counts.total()
    tests = "1 test was" if total == 1 else f"{total} tests were"
    return f"{tests} left out, because not installed: {listed}. To run all: {how_to_get(missing)}"
