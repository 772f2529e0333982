"""Manual clock: a clock for tests, which only the test moves."""

from __future__ import annotations


class ManualClock:
    """Call it for the time in seconds; set `now_s` to move it."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s
