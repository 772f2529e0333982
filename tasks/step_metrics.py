"""Measures the steps: seconds, those spent waiting for PostgreSQL, and transfers moved.

And tells the API when transfers have ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from ledger.postgres.session import server_wait
from monitoring.metrics.catalogue import PART_SECONDS, STEP_SECONDS, STEP_TRANSFERS
from resilience.hints import HintSender
from settings import Settings


@dataclass(slots=True)
class Measure:
    """The numbers of transfers that a step moved and ended, and how long its claim took.

    The step fills them in.
    """

    moved: int = 0
    ended: int = 0
    claim_s: float = 0.0


@contextmanager
def measured(step: str) -> Iterator[Measure]:
    """Measure the step that runs in the block, including a commit inside it."""
    began_s, waited_s = time.perf_counter(), server_wait.total_s
    measure, outcome = Measure(), "failed"
    try:
        yield measure
        outcome = "moved" if measure.moved else "idle"
    finally:
        STEP_SECONDS.labels(step, outcome).observe(time.perf_counter() - began_s)
        if outcome == "moved":
            STEP_TRANSFERS.labels(step).observe(measure.moved)
            PART_SECONDS.labels(f"{step}_sql").observe(server_wait.total_s - waited_s)
        if measure.claim_s:
            PART_SECONDS.labels("claim").observe(measure.claim_s)
    # After the commit: the API looks at once, for requests that wait (`Prefer: wait`).
    if measure.ended:
        _ended().send()


@cache
def _ended() -> HintSender:
    settings = Settings.from_environment()
    return HintSender(settings.cache_url, settings.ended_channel)
