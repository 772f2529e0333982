"""Measuring the steps in the workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from monitoring.metrics.catalogue import STEP_SECONDS, STEP_TRANSFERS


@dataclass(slots=True)
class Measure:
    """What a step says of itself: how many transfers it moved."""

    moved: int = 0


@contextmanager
def measured(step: str) -> Iterator[Measure]:
    """Measure the step in the block, with its commit if the block has it."""
    began_s = time.perf_counter()
    measure, outcome = Measure(), "failed"
    try:
        yield measure
        outcome = "moved" if measure.moved else "idle"
    finally:
        STEP_SECONDS.labels(step, outcome).observe(time.perf_counter() - began_s)
        if outcome == "moved":
            STEP_TRANSFERS.labels(step).observe(measure.moved)
