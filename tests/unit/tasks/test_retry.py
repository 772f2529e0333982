"""Retry delays of failed tasks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.retry import FIRST_DELAY_S, MAX_DELAY_S, MAX_RETRIES, delay_s


@pytest.mark.parametrize(
    ("attempt", "shortest", "longest"),
    [
        (0, 0.05, 0.1),
        (1, 0.1, 0.2),
        (2, 0.2, 0.4),
        (3, 0.4, 0.8),
        (4, 0.8, 1.6),
        (5, 1.5, 3.0),
        (6, 1.5, 3.0),
    ],
)
def test_the_delay_doubles_up_to_a_bound(attempt: int, shortest: float, longest: float) -> None:
    assert delay_s(attempt, jitter=0.0) == pytest.approx(shortest)
    assert delay_s(attempt, jitter=1.0) == pytest.approx(longest)


@given(st.integers(0, 1_000))
def test_no_delay_is_ever_out_of_bounds(attempt: int) -> None:
    assert FIRST_DELAY_S / 2 <= delay_s(attempt) <= MAX_DELAY_S


def test_two_workers_that_fail_together_do_not_retry_together() -> None:
    assert len({delay_s(3) for _ in range(50)}) > 40


def test_all_retries_together_last_seconds_not_minutes() -> None:
    assert sum(delay_s(attempt, jitter=1.0) for attempt in range(MAX_RETRIES)) < 10
