"""Records how long tests took, to give each lane the same work and to mark slow tests.

`pytest --record-durations` writes them to testing/suite/durations.json, which is committed. `make
durations` does so with a whole run; a run of some tests replaces what it has run.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from testing.suite.units import unit_of

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "testing" / "suite" / "durations.json"
SLOW_FROM_S = 10.0
"""The marker `slow` is for tests that took this long, without what their fixtures took."""


@dataclass(frozen=True)
class Durations:
    """How long a run took, by unit and by slow test."""

    seconds: dict[str, float] = field(default_factory=dict)
    """By unit, including fixtures."""
    slow: dict[str, float] = field(default_factory=dict)
    """By test, only slow ones, without fixtures."""


def recorded(path: Path = RECORD) -> Durations:
    """Return the durations of the last recorded run; empty where there is no record."""
    return Durations(**json.loads(path.read_text())) if path.exists() else Durations()


class Recorder:
    """Adds up the reports of a run, in the process that receives them from all lanes."""

    def __init__(self, path: Path = RECORD) -> None:
        self._path = path
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._slow: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[unit_of(report.nodeid)] += report.duration
        if report.when == "call" and report.duration >= SLOW_FROM_S:
            self._slow[report.nodeid] = round(report.duration, 1)

    def pytest_sessionfinish(self) -> None:
        """Write what was run; keep the record of other tests whose files still exist."""
        before = recorded(self._path)
        seconds = {unit: took for unit, took in before.seconds.items() if _is_there(unit)}
        seconds |= {unit: round(took, 1) for unit, took in self._seconds.items()}
        slow = {
            test: took
            for test, took in before.slow.items()
            if _is_there(test) and unit_of(test) not in self._seconds
        }
        content = {
            "seconds": dict(sorted(seconds.items())),
            "slow": dict(sorted((slow | self._slow).items())),
        }
        self._path.write_text(json.dumps(content, indent=1) + "\n")


def _is_there(name: str) -> bool:
    return (ROOT / name.partition("::")[0].partition("@")[0]).exists()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--record-durations",
        action="store_true",
        help="write how long each unit took to testing/suite/durations.json; not with -k",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Record, if asked to, in the process that distributes the tests."""
    if config.getoption("record_durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


@pytest.hookimpl(tryfirst=True)  # before -m chooses by these markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder and by how long they took."""
    slow = recorded().slow
    for item in items:
        for folder, marker in MARKERS.items():
            if item.nodeid.startswith(folder):
                item.add_marker(marker)
        if item.nodeid in slow:
            item.add_marker("slow")


MARKERS = {
    "tests/acceptance/": "acceptance",
    "tests/chaos/": "chaos",
    "tests/outages/": "chaos",
}
