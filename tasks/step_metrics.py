"""Measures the steps: seconds, and transfers moved; and tells the API when transfers have ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Final

from monitoring.metrics.catalogue import STEP_SECONDS, STEP_TRANSFERS
from resilience.hints import HintSender
from settings import Settings

_ENDING: Final = frozenset({"commit", "rollback"})
"""The steps that end transfers."""


@dataclass(slots=True)
class Measure:
    """The number of transfers that a step moved, filled in by the step."""

    moved: int = 0


@contextmanager
def measured(step: str) -> Iterator[Measure]:
    """Measure the step that runs in the block, including a commit inside it."""
    began_s = time.perf_counter()
    measure, outcome = Measure(), "failed"
    try:
        yield measure
        outcome = "moved" if measure.moved else "idle"
    finally:
        STEP_SECONDS.labels(step, outcome).observe(time.perf_counter() - began_s)
        if outcome == "moved":
            STEP_TRANSFERS.labels(step).observe(measure.moved)
    # After the commit: the API looks at once, for requests that wait (`Prefer: wait`).
    if step in _ENDING and measure.moved:
        _ended().send()


@cache
def _ended() -> HintSender:
    settings = Settings.from_environment()
    return HintSender(settings.cache_url, settings.ended_channel)
