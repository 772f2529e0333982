"""Cool-down: a server that has just failed is left alone, then one caller tries it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from resilience.cooldown import Cooldown
from testing.forks import holds_in_child
from testing.manual_clock import ManualClock


def test_all_may_call_until_a_failure_and_none_for_a_while_after() -> None:
    clock = ManualClock()
    cooldown = Cooldown(5.0, clock=clock)
    assert all(cooldown.allows() for _ in range(3))
    cooldown.start()
    assert not any(cooldown.allows() for _ in range(3))
    clock.now_s += 4.9
    assert not cooldown.allows()


def test_after_the_cooldown_one_tries_and_the_others_follow_its_success() -> None:
    clock = ManualClock()
    cooldown = Cooldown(5.0, clock=clock)
    cooldown.start()
    clock.now_s += 5.0
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: cooldown.allows(), range(100))) == 1
    cooldown.end()
    assert all(cooldown.allows() for _ in range(3))


def test_a_failed_or_unfinished_trial_is_followed_by_another_later() -> None:
    clock = ManualClock()
    cooldown = Cooldown(5.0, clock=clock)
    cooldown.start()
    for says_so in (True, False, True):
        clock.now_s += 5.0
        assert cooldown.allows()
        if says_so:
            cooldown.start()
        assert not cooldown.allows()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_is_not_blocked_by_a_lock_of_its_parent() -> None:
    cooldown = Cooldown(5.0)
    with cooldown._lock:
        assert holds_in_child(cooldown.allows, within_s=5)
