"""How often a failure that repeats is told."""

from __future__ import annotations

from monitoring.streaks import Streak


def test_a_streak_is_told_of_ever_more_rarely() -> None:
    streak = Streak()
    assert [number for number in range(1, 101) if streak.add()] == [1, 2, 4, 8, 16, 32, 64]


def test_the_first_failure_of_the_next_streak_is_told_again() -> None:
    streak = Streak()
    for _ in range(3):
        streak.add()
    assert streak.end() == 3
    assert streak.add()
    assert streak.count == 1
