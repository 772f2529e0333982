"""Units of tests: what a lane is given at a time, and what the record of durations counts."""

from __future__ import annotations

from tests.brokers import KINDS

INDEPENDENT = ("tests/acceptance/test_stack_starts.py",)
"""Files whose tests share nothing, and are given out one by one."""
ONE_UNIT = "tests/ui/"
"""A folder whose files share a browser and a whole Truepenny, which are dear to make."""


def unit_of(nodeid: str) -> str:
    """The name of the unit that a test belongs to."""
    file, _, test = nodeid.partition("::")
    if file in INDEPENDENT:
        return nodeid
    if file.startswith(ONE_UNIT):
        return ONE_UNIT
    parameters = test.partition("[")[2].rstrip("]").split("-")
    kind = next((kind for kind in KINDS if kind in parameters), "")
    return f"{file}@{kind}"
