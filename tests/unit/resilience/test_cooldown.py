"""The cool-down: nobody asks a server that has just failed, and then one tries it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from resilience.cooldown import Cooldown
from testing.forks import holds_in_child


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_everybody_may_ask_until_it_fails_and_nobody_for_a_while_after() -> None:
    clock = Clock()
    cooldown = Cooldown(5.0, clock=clock)
    assert all(cooldown.allows() for _ in range(3))
    cooldown.start()
    assert not any(cooldown.allows() for _ in range(3))
    clock.now_s += 4.9
    assert not cooldown.allows()


def test_then_one_tries_it_and_the_others_follow_when_it_answers() -> None:
    clock = Clock()
    cooldown = Cooldown(5.0, clock=clock)
    cooldown.start()
    clock.now_s += 5.0
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: cooldown.allows(), range(100))) == 1
    cooldown.end()
    assert all(cooldown.allows() for _ in range(3))


def test_one_that_fails_again_or_never_says_so_is_followed_by_another_after_as_long() -> None:
    clock = Clock()
    cooldown = Cooldown(5.0, clock=clock)
    cooldown.start()
    for says_so in (True, False, True):
        clock.now_s += 5.0
        assert cooldown.allows()
        if says_so:
            cooldown.start()
        assert not cooldown.allows()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_is_not_held_up_by_a_lock_of_its_parent() -> None:
    cooldown = Cooldown(5.0)
    with cooldown._lock:
        assert holds_in_child(cooldown.allows, within_s=5)
