"""Measures the steps: seconds, and transfers moved."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from monitoring.metrics.catalogue import STEP_SECONDS, STEP_TRANSFERS


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
