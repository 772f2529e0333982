"""Lanes: the order in which they get their units, and the recorded durations behind it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testing.suite.durations import Recorder, recorded
from testing.suite.lanes import order_of
from testing.suite.units import unit_of

SECONDS = {
    "tests/chaos/test_broker.py@redis": 30.0,
    "tests/chaos/test_broker.py@rabbitmq": 50.0,
    "tests/unit/ledger/test_money.py@": 1.0,
}


def test_the_longest_unit_comes_first_and_an_unknown_one_counts_as_its_folder() -> None:
    given = [
        "tests/unit/ledger/test_money.py::test_a",
        "tests/unit/test_new.py::test_a",
        "tests/k8s/test_new.py::test_a",
        "tests/chaos/test_new.py::test_a[redis]",
        "tests/chaos/test_broker.py::test_a[redis]",
        "tests/chaos/test_broker.py::test_a[rabbitmq]",
        "tests/outages/test_new.py::test_a[redis]",
    ]
    assert sorted(given, key=lambda nodeid: order_of(nodeid, SECONDS)) == [
        "tests/chaos/test_broker.py::test_a[rabbitmq]",
        "tests/chaos/test_new.py::test_a[redis]",
        "tests/chaos/test_broker.py::test_a[redis]",
        "tests/unit/ledger/test_money.py::test_a",
        "tests/unit/test_new.py::test_a",
        "tests/k8s/test_new.py::test_a",
        "tests/outages/test_new.py::test_a[redis]",
    ]


def test_without_a_record_the_order_is_that_of_the_folders() -> None:
    given = [
        "tests/unit/test_a.py::test",
        "tests/chaos/test_a.py::test",
        "tests/ui/test_a.py::test",
    ]
    assert sorted(given, key=lambda nodeid: order_of(nodeid, {})) == given[::-1]


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        ("tests/chaos/test_broker.py::test_a[redis-1]", "tests/chaos/test_broker.py@redis"),
        ("tests/chaos/test_broker.py::test_a[1]", "tests/chaos/test_broker.py@"),
        ("tests/ui/test_modules.py::test_a", "tests/ui/"),
        (
            "tests/acceptance/stack/test_stack_starts.py::test_a",
            "tests/acceptance/stack/test_stack_starts.py::test_a",
        ),
    ],
)
def test_a_unit_is_a_group_of_tests_that_share_servers(nodeid: str, unit: str) -> None:
    assert unit_of(nodeid) == unit


def test_a_record_replaces_what_was_run_and_drops_what_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "durations.json"
    here, gone = "tests/unit/suite/test_lanes.py", "tests/unit/test_gone.py"
    kept = "tests/unit/ledger/test_money.py"
    before = {
        "seconds": {f"{here}@": 9.0, f"{gone}@": 9.0, f"{kept}@": 9.0},
        "slow": {f"{here}::test_old": 11.0, f"{gone}::test_old": 11.0, f"{kept}::test_old": 11.0},
    }
    path.write_text(json.dumps(before))
    recorder = Recorder(path)
    for name, when, duration in (
        ("test_a", "setup", 20.0),
        ("test_a", "call", 2.25),
        ("test_b", "call", 10.0),
    ):
        recorder.pytest_runtest_logreport(report(f"{here}::{name}", when, duration))
    recorder.pytest_sessionfinish()
    found = recorded(path)
    assert found.seconds == {f"{here}@": 32.2, f"{kept}@": 9.0}
    assert found.slow == {f"{here}::test_b": 10.0, f"{kept}::test_old": 11.0}


def report(nodeid: str, when: str, duration: float) -> pytest.TestReport:
    return pytest.TestReport._from_json(
        {
            "nodeid": nodeid,
            "location": ("", 0, ""),
            "keywords": {},
            "outcome": "passed",
            "longrepr": None,
            "when": when,
            "sections": [],
            "duration": duration,
            "start": 0.0,
            "stop": duration,
        }
    )


def test_no_record_is_an_empty_one(tmp_path: Path) -> None:
    assert recorded(tmp_path / "none.json").seconds == {}
