"""Backpressure: when a broker counts as full."""

from __future__ import annotations

import pytest

from monitoring.health.redis_info import findings, is_full

# Share of the memory in use, whether it was full before, whether it is full now.
CASES = [
    (0.00, False, False),
    (0.84, False, False),
    (0.85, False, True),
    (1.00, False, True),
    (1.00, True, True),
    (0.84, True, True),  # it has to fall below the lower mark, ...
    (0.80, True, True),
    (0.79, True, False),  # ... and then to rise to the upper one again
    (None, False, False),
    (None, True, False),  # a broker without a limit, or one that is away, is not full
]


@pytest.mark.parametrize(("share", "before", "full"), CASES)
def test_it_is_full_from_85_percent_on_until_it_is_below_80(
    share: float | None, before: bool, full: bool
) -> None:
    assert is_full(share, before=before) is full


@pytest.mark.parametrize(("share", "before", "full"), CASES)
def test_readings_of_info_give_the_same_result(
    share: float | None, before: bool, full: bool
) -> None:
    limit = 0 if share is None else 100_000
    info = {"maxmemory": limit, "used_memory": round((share or 0) * limit)}
    found = findings("broker", info, was_full=before)
    assert [each.code for each in found if each.refuses] == (["memory"] if full else [])
