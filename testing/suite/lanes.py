"""Lanes: the processes that run the suite side by side, as `make test` does (`pytest -n 3`).

Lanes share only the machine: each makes its own fixtures, so it has its own servers, ports,
folders and databases. A lane gets one unit at a time: a file, or a file on one kind of broker, so
that the fixtures of its tests are made once. The units that took longest, as recorded in
testing/suite/durations.json, are given out first, so that all lanes end at about the same time.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from statistics import fmean
from types import FrameType
from typing import Any, NoReturn

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from testing.suite.durations import recorded
from testing.suite.units import ONE_UNIT, unit_of

# The order of units that have no recorded duration yet.
LONGEST_FIRST = (
    "tests/acceptance/stack/test_stack.py",
    "tests/acceptance/stack/test_stack_starts.py",
    "tests/outages/",
    ONE_UNIT,
    "tests/chaos/",
    "tests/acceptance/",
    "tests/integration/",
    "tests/",
)
_END_WITHIN_S = 90.0
"""An interrupted lane stops its servers; the slowest to stop is `make up`."""


class Lanes(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Gives units of tests to the lanes, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def order_of(nodeid: str, seconds: Mapping[str, float]) -> tuple[float, int]:
    """Return the sort key of a test in the order of a run.

    A unit without a record counts as long as the average unit of its folder.
    """
    rank = _rank(nodeid)
    took = seconds.get(unit_of(nodeid))
    if took is None:
        took = fmean([took for unit, took in seconds.items() if _rank(unit) == rank] or [0.0])
    return -took, rank


def _rank(name: str) -> int:
    return next(rank for rank, start in enumerate(LONGEST_FIRST) if name.startswith(start))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Lanes:
    """Use our order instead of one by the number of tests, which says nothing about time."""
    config.option.loadscopereorder = False
    return Lanes(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a lane, put the longest units first; without lanes, keep the order in the files."""
    if hasattr(config, "workerinput"):
        seconds = recorded().seconds
        order = {unit_of(item.nodeid): order_of(item.nodeid, seconds) for item in items}
        items.sort(key=lambda item: order[unit_of(item.nodeid)])


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let a lane be interrupted only once, because it then stops its servers.

    A shell that starts us in the background ignores interrupts. Without a handler here, `make up`
    would inherit that from us.
    """
    is_lane = hasattr(session.config, "workerinput")
    signal.signal(signal.SIGINT, _interrupted if is_lane else signal.default_int_handler)


def _interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After Ctrl-C, wait for the lanes: xdist would kill them while they stop their servers."""
    lanes: Any = session.config.pluginmanager.get_plugin("dsession")
    started: Any = getattr(lanes, "nodemanager", None)
    if exitstatus != pytest.ExitCode.INTERRUPTED or started is None:
        return
    nodes = [gateway.node for gateway in started.group if hasattr(gateway, "node")]
    for node in nodes:
        if not node.channel.isclosed():
            os.kill(node.gateway._rinfo().pid, signal.SIGINT)  # the terminal may have done so
    deadline_s = time.monotonic() + _END_WITHIN_S
    while time.monotonic() < deadline_s and not all(node.channel.isclosed() for node in nodes):
        time.sleep(0.05)
