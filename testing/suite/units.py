"""Names the unit of each test: the tests that one process of the suite runs together.

A lane gets one unit at a time, and durations are recorded by unit.
"""

from __future__ import annotations

from testing.servers.brokers import KINDS

INDEPENDENT = (
    "tests/acceptance/stack/test_stack_starts.py",
    "tests/acceptance/test_storm.py",
)
"""Files whose tests share nothing, and are given out one by one."""
ONE_UNIT = "tests/ui/"
"""A folder whose files share a browser and a whole Truepenny, which are slow to start."""


def unit_of(nodeid: str) -> str:
    """Return the name of the unit that a test belongs to."""
    file, _, test = nodeid.partition("::")
    if file in INDEPENDENT:
        return nodeid
    if file.startswith(ONE_UNIT):
        return ONE_UNIT
    parameters = test.partition("[")[2].rstrip("]").split("-")
    kind = next((kind for kind in KINDS if kind in parameters), "")
    return f"{file}@{kind}"
