"""Hops: how long messages take, by a time that anybody may have written."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any

import pytest

from monitoring.metrics.catalogue import PART_SECONDS
from tasks import hops


def hop_sum_and_count() -> tuple[float, float]:
    hop: Any = PART_SECONDS.labels("hop")
    return hop._sum.get(), sum(bucket.get() for bucket in hop._buckets)


def run(sent_at: object) -> None:
    headers = {hops.SENT_AT: sent_at}
    request = SimpleNamespace(headers=headers, eta=None, delivery_info={"redelivered": False})
    hops._measure(SimpleNamespace(request=request))


@pytest.mark.parametrize(
    "sent_at", [math.nan, math.inf, -math.inf, -1e308, 0.0, "now", None, 1, True]
)
def test_a_time_that_cannot_be_right_is_not_counted(sent_at: object) -> None:
    before = hop_sum_and_count()
    run(sent_at)
    total_s, count = hop_sum_and_count()
    assert math.isfinite(total_s)
    assert count - before[1] <= (sent_at == math.inf)


def test_a_hop_counts_with_its_time() -> None:
    before = hop_sum_and_count()
    run(time.time() - 2.0)
    total_s, count = hop_sum_and_count()
    assert count == before[1] + 1
    assert 2.0 <= total_s - before[0] < 60.0
