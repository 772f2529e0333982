"""Single flight: concurrent callers share one call, and each waits only as long as it wants."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from monitoring.logs import get_logger, own_fields
from resilience.single_flight import NoThread, SingleFlight, start_flight
from testing.forks import holds_in_child
from testing.thread_limit import no_new_threads

LOG = get_logger("test")


class Call:
    """A call that returns its number, or hangs or fails when set to."""

    def __init__(self) -> None:
        self.made = 0
        self.error: BaseException | None = None
        self.released = threading.Event()
        self.released.set()

    def __call__(self) -> int:
        self.made += 1
        number = self.made
        self.released.wait(30)
        if self.error is not None:
            raise self.error
        return number


def test_callers_during_a_call_share_it() -> None:
    call = Call()
    call.released.clear()
    single = SingleFlight("test", call, log=LOG)
    with ThreadPoolExecutor(20) as threads:
        flights = list(threads.map(lambda _: single.join(), range(100)))
    call.released.set()
    assert [flight.result(10) for flight in flights] == [1] * 100
    assert single.join().result(10) == 2


def test_a_call_that_hangs_is_waited_for_only_so_long_and_costs_one_thread() -> None:
    call = Call()
    call.released.clear()
    single = SingleFlight("test-hanging", call, log=LOG)
    begun_s = time.monotonic()
    for patience_s in (0.1, 0.0, -1.0):
        with pytest.raises(TimeoutError):
            single.join().result(patience_s)
    assert time.monotonic() - begun_s < 2
    assert sum(each.name == "test-hanging" for each in threading.enumerate()) == 1
    call.released.set()
    assert single.join().result(10) in (1, 2)


@pytest.mark.parametrize("error", [None, LookupError()])
def test_the_result_serves_callers_soon_after(error: Exception | None) -> None:
    call = Call()
    call.error = error
    single = SingleFlight("test", call, log=LOG, fresh_for_s=0.3)
    first = single.join()
    first.exception(10)
    assert single.join() is first
    time.sleep(0.35)
    assert single.join() is not first
    assert single.latest is not first


@pytest.mark.parametrize("error", [LookupError("why"), SystemExit(1)])
def test_an_error_is_raised_where_it_is_waited_for(error: BaseException) -> None:
    call = Call()
    call.error = error
    with pytest.raises(type(error)) as raised:
        start_flight(call, name="test").result(10)
    assert raised.value is error


def test_without_a_thread_it_fails_at_once_and_the_next_one_tries_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    single = SingleFlight("test", Call(), log=LOG, fresh_for_s=60)
    with no_new_threads():
        for _ in range(5):
            with pytest.raises(NoThread):
                single.join().result(10)
        with pytest.raises(NoThread):
            start_flight(Call(), name="test")
    assert single.join().result(10) == 1
    expected = ("look_not_started", {"look": "test", "error": "RuntimeError"})
    assert [(each.getMessage(), own_fields(each)) for each in caplog.records] == [expected] * 3


def test_a_failure_is_logged_at_its_begin_and_end_before_callers_see_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    call, seen = Call(), []
    single = SingleFlight("test", call, log=LOG)
    for error in (LookupError(), KeyError(), None, None, LookupError()):
        call.error = error
        assert single.join().exception(10) is error
        seen.append(len(caplog.records))
    assert seen == [1, 1, 2, 2, 3]
    assert [(each.getMessage(), own_fields(each)) for each in caplog.records] == [
        ("look_failed", {"look": "test", "error": "LookupError"}),
        ("look_well_again", {"look": "test"}),
        ("look_failed", {"look": "test", "error": "LookupError"}),
    ]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_makes_its_own_call_and_does_not_wait_for_its_parents() -> None:
    call = Call()
    call.released.clear()
    single = SingleFlight("test", call, log=LOG)
    single.join()

    def calls() -> bool:
        call.released = threading.Event()
        call.released.set()
        return single.join().result(5) == 2

    with single._lock:  # as while another thread of the parent starts it
        assert holds_in_child(calls)
    call.released.set()
