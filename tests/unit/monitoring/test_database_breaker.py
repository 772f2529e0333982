"""Database breaker: opened and closed by probes, and by nothing else."""

from __future__ import annotations

import threading
import time

import pytest

from ledger.errors import Unreachable
from monitoring.health.database_breaker import DatabaseBreaker
from testing.worker_processes import eventually


class Door:
    """A database that is up or down, and a count of its probes."""

    def __init__(self) -> None:
        self.is_open = True
        self.error: Exception = Unreachable()
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1
        if not self.is_open:
            raise self.error


def test_one_failure_is_no_outage_and_two_are() -> None:
    door = Door()
    watch = DatabaseBreaker(door)
    door.is_open = False
    assert watch.probe_once() is False
    assert watch.state == "closed"
    watch.probe_once()
    assert watch.state == "open"


def test_a_success_in_between_restarts_the_count() -> None:
    door = Door()
    watch = DatabaseBreaker(door)
    for is_open in (False, True, False):
        door.is_open = is_open
        watch.probe_once()
    assert watch.state == "closed"


def test_the_first_success_closes_it_whatever_the_wall_clock_says() -> None:
    door = Door()
    watch = DatabaseBreaker(door)
    door.is_open = False
    for _ in range(5):
        watch.probe_once()
    assert watch.state == "open"
    door.is_open = True
    assert watch.probe_once() is True
    assert watch.state == "closed"


@pytest.mark.parametrize("error", [Unreachable(), RuntimeError("a bug in the probe")])
def test_it_detects_by_itself_that_the_database_goes_and_returns(error: Exception) -> None:
    door = Door()
    watch = DatabaseBreaker(door)
    assert watch.is_up()
    door.error, door.is_open = error, False
    watch.suspect()
    eventually(lambda: not watch.is_up())
    door.is_open = True
    eventually(watch.is_up)


def test_a_suspicion_is_no_proof() -> None:
    door = Door()
    watch = DatabaseBreaker(door)
    watch.is_up()
    asked = door.asked
    for _ in range(100):
        watch.suspect()
        assert watch.is_up()
    eventually(lambda: door.asked > asked)
    assert watch.is_up()


def test_reading_the_state_starts_no_probe_and_no_second_thread() -> None:
    door = Door()
    watch = DatabaseBreaker(door)
    threads = threading.active_count()
    for _ in range(1_000):
        watch.is_up()
    time.sleep(0.05)
    assert door.asked <= 2
    assert threading.active_count() <= threads + 1
