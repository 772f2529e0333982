"""Lanes: the suite in several processes side by side, as `make test` runs it (`pytest -n 3`).

Nothing is shared between lanes but the machine: each makes every fixture of the run for itself,
so it has servers, ports, folders and databases of its own. What a lane is given at a time is a
file, or a file on one kind of broker: what its tests share is then made once. What took longest
by tests/durations.json is given out first, so that all lanes end at about the same time.
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

from tests.durations import recorded
from tests.units import ONE_UNIT, unit_of

# For what has no record of its duration yet.
LONGEST_FIRST = (
    "tests/acceptance/test_stack.py",
    "tests/acceptance/test_stack_starts.py",
    "tests/outages/",
    ONE_UNIT,
    "tests/chaos/",
    "tests/acceptance/",
    "tests/integration/",
    "tests/",
)
_END_WITHIN_S = 90.0
"""A lane that was interrupted stops its servers; the slowest is `make up`."""


class Lanes(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Gives out units of tests, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def order_of(nodeid: str, seconds: Mapping[str, float]) -> tuple[float, int]:
    """Where in the order of a run a test stands.

    A unit without a record is taken to be as long as the others of its folder are on average.
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
    """Take our order instead of one by the number of tests, which says nothing about time."""
    config.option.loadscopereorder = False
    return Lanes(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest first, in a lane; who runs some tests without lanes wants them as written."""
    if hasattr(config, "workerinput"):
        seconds = recorded().seconds
        order = {unit_of(item.nodeid): order_of(item.nodeid, seconds) for item in items}
        items.sort(key=lambda item: order[unit_of(item.nodeid)])


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let a lane be interrupted once, since what follows then is the end of its servers.

    A shell that starts us in the background has interrupts ignored, which `make up` would
    inherit from us, were there no handler.
    """
    is_lane = hasattr(session.config, "workerinput")
    signal.signal(signal.SIGINT, _interrupted if is_lane else signal.default_int_handler)


def _interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After a Ctrl-C wait for the lanes, which xdist would kill while they stop their servers."""
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
