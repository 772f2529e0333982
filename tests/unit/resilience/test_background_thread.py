"""Background thread: one at a time in each process, and restarted after it has died."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from monitoring.logs import get_logger, own_fields
from resilience.background_thread import BackgroundThread
from testing.forks import holds_in_child
from testing.thread_limit import no_new_threads
from testing.worker_processes import eventually

LOG = get_logger("test")


class Work:
    """Work that runs until it is released, and counts its starts."""

    def __init__(self) -> None:
        self.begun = 0
        self.released = threading.Event()

    def __call__(self) -> None:
        self.begun += 1
        self.released.wait(30)


def test_many_callers_at_once_share_one_thread() -> None:
    work = Work()
    thread = BackgroundThread("test-shared", work, log=LOG)
    everyone = threading.Barrier(20)

    def call(_: int) -> bool:
        everyone.wait()
        return thread.ensure_running()

    with ThreadPoolExecutor(20) as callers:
        assert all(callers.map(call, range(20)))
    assert sum(each.name == "test-shared" for each in threading.enumerate()) == 1
    assert work.begun == 1
    work.released.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_replaced_by_the_next_call() -> None:
    begun = []

    def die() -> None:
        begun.append(1)
        raise LookupError

    thread = BackgroundThread("test-dying", die, log=LOG)
    eventually(lambda: thread.ensure_running() and len(begun) >= 3)
    eventually(lambda: all(each.name != "test-dying" for each in threading.enumerate()))


def test_a_retired_thread_is_replaced_although_it_still_runs() -> None:
    begun: list[int] = []
    retired, may_go = threading.Event(), threading.Event()

    def work() -> None:
        begun.append(1)
        thread.retire()
        retired.set()
        may_go.wait(30)

    thread = BackgroundThread("test-retired", work, log=LOG)
    assert thread.ensure_running()
    assert retired.wait(10)
    assert thread.ensure_running()
    eventually(lambda: len(begun) == 2)
    may_go.set()


def test_only_the_thread_itself_can_retire() -> None:
    work = Work()
    thread = BackgroundThread("test-owner", work, log=LOG)
    thread.ensure_running()
    thread.retire()
    thread.ensure_running()
    assert work.begun == 1
    work.released.set()


def test_a_lack_of_threads_is_logged_less_and_less_and_once_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = Work()
    thread = BackgroundThread("test-lack", work, log=LOG, not_started="test_not_started")
    with no_new_threads():
        assert not any(thread.ensure_running() for _ in range(5))
    assert all(thread.ensure_running() for _ in range(5))
    work.released.set()
    assert [(record.getMessage(), own_fields(record)) for record in caplog.records] == [
        *(
            ("test_not_started", {"thread": "test-lack", "error": "RuntimeError", "times": times})
            for times in (1, 2, 4)
        ),
        ("thread_started", {"thread": "test-lack"}),
    ]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_starts_its_own_thread_whatever_its_parent_was_doing() -> None:
    work = Work()
    thread = BackgroundThread("test-forked", work, log=LOG)
    thread.ensure_running()

    def starts() -> bool:
        work.begun = 0
        eventually(lambda: thread.ensure_running() and work.begun == 1, within_s=5)
        return True

    with thread._lock:  # as while another thread of the parent starts it
        assert holds_in_child(starts)
    work.released.set()
