"""Rate counters in memory, which replace those in the cache during an outage."""

from __future__ import annotations

import pytest

from api.rate_limits.counters import NOTHING, MemoryCounters, Taken, Window
from testing.manual_clock import ManualClock


def allowed(counters: MemoryCounters, *, limit: int) -> int:
    """Return how many of many requests stay within the limit."""
    return sum(counters.hit("key", 60).count <= limit for _ in range(3 * limit))


@pytest.mark.parametrize(
    ("processes", "limit", "each"),
    [
        (1, 1, 1),
        (1, 10, 10),
        (2, 10, 5),
        (2, 11, 6),
        (2, 1, 1),
        (4, 2, 1),
        (64, 10, 1),
        (3, 1000, 334),
    ],
)
def test_processes_share_a_limit_evenly_and_each_allows_at_least_one(
    processes: int, limit: int, each: int
) -> None:
    assert allowed(MemoryCounters(processes=processes), limit=limit) == each


def test_a_window_begins_with_its_first_request_and_ends_in_time() -> None:
    clock = ManualClock()
    counters = MemoryCounters(processes=1, clock=clock)
    assert counters.look("key") == NOTHING
    assert counters.hit("key", 60) == Window(1, 60.0)
    clock.now_s += 59.0
    assert counters.hit("key", 60) == Window(2, 1.0)
    assert counters.look("key") == Window(2, 1.0)
    clock.now_s += 1.0
    assert counters.look("key") == NOTHING
    assert counters.hit("key", 60) == Window(1, 60.0)


def test_it_continues_from_the_last_value_of_the_shared_counter() -> None:
    clock = ManualClock()
    counters = MemoryCounters(processes=2, clock=clock)
    counters.note("key", Window(7, 30.0))
    assert counters.hit("key", 60) == Window(9, 30.0)
    clock.now_s += 30.0
    assert counters.hit("key", 60) == Window(1, 60.0)


def test_items_are_taken_all_or_none_and_may_be_given_back() -> None:
    clock = ManualClock()
    counters = MemoryCounters(processes=1, clock=clock)
    assert counters.take("key", 60, items=6, limit=10) == Taken(Window(6, 60.0), fits=True)
    assert counters.take("key", 60, items=5, limit=10) == Taken(Window(6, 60.0), fits=False)
    counters.give_back("key", 2)
    assert counters.take("key", 60, items=6, limit=10) == Taken(Window(10, 60.0), fits=True)
    counters.give_back("key", 99)
    assert counters.look("key") == Window(0, 60.0)
    clock.now_s += 60.0
    assert counters.take("key", 60, items=10, limit=10) == Taken(Window(10, 60.0), fits=True)
    counters.give_back("unknown", 1)
    assert counters.look("unknown") == NOTHING


def test_a_process_among_several_lets_in_one_batch_and_then_its_share() -> None:
    counters = MemoryCounters(processes=2)
    assert counters.take("key", 60, items=6, limit=10).fits
    assert not counters.take("key", 60, items=3, limit=10).fits
    assert counters.take("key", 60, items=2, limit=10).fits


def test_a_flood_of_addresses_uses_bounded_memory_and_keeps_busy_ones() -> None:
    counters = MemoryCounters(processes=1, max_keys=100)
    for number in range(5_000):
        counters.hit(f"address {number}", 60)
        counters.hit("busy", 60)
        counters.note(f"noted {number}", Window(1, 60.0))
    assert len(counters) == 100
    assert counters.look("busy").count == 5_000
    assert counters.look("address 0") == NOTHING
