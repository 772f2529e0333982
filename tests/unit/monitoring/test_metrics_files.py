"""Metrics files: counts survive their process, never disturb it, and stay bounded."""

from __future__ import annotations

import logging
import os
import re
import resource
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest
from prometheus_client import Counter, Metric, values

from monitoring.metrics import catalogue
from monitoring.metrics.cardinality import MAX_SERIES, Limited
from monitoring.metrics.catalogue import BREAKER_OPEN, PROBLEMS, STEP_SECONDS
from monitoring.metrics.exposition import measured, page, programs_in
from monitoring.metrics.files import STORE, MetricStore
from testing.servers.shared import ROOT


def die_after(work: Callable[[], object]) -> NoReturn:
    """Do the work, then end like a killed process."""
    try:
        work()
    except BaseException:  # noqa: BLE001 - what is wrong must not go on as a second pytest
        traceback.print_exc()
        os._exit(1)
    os.kill(os.getpid(), signal.SIGKILL)
    os._exit(1)


def child(work: Callable[[], object]) -> None:
    """Do the work in a forked process that is killed afterwards."""
    pid = os.fork()
    if not pid:
        die_after(work)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)


def program(
    folder: Path,
    work: Callable[[], object],
    *,
    name: str = "api",
    zeros: catalogue.Zeros = (),
) -> list[str]:
    """Run a program that does this work. Returns: the lines of its log."""
    log = folder / f"{name}.log"

    def main() -> None:
        logging.basicConfig(filename=log, format="%(message)s", level=logging.INFO, force=True)
        catalogue.begin(name, folder, zeros)
        work()

    child(main)
    return log.read_text().splitlines()


def families(folder: Path) -> list[Metric]:
    return measured(programs_in(catalogue.folder_of(folder)))


def samples(folder: Path) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in families(folder)
        for sample in family.samples
    }


def count_one() -> None:
    PROBLEMS.labels("code").inc()


ONE = {"truepenny_problems_total['code']": 1}
TWO = {"truepenny_problems_total['code']": 2}


def test_counts_of_dead_processes_stay_and_new_ones_reuse_their_files(tmp_path: Path) -> None:
    def step() -> None:
        PROBLEMS.labels("child").inc()
        STEP_SECONDS.labels("deduct", "moved").observe(0.1)

    def work() -> None:
        PROBLEMS.labels("parent").inc()
        for _ in range(50):
            child(step)

    program(tmp_path, work)
    found = samples(tmp_path)
    assert found["truepenny_problems_total['parent']"] == 1
    assert found["truepenny_problems_total['child']"] == 50
    assert found["truepenny_step_seconds_count['deduct', 'moved']"] == 50
    assert found["truepenny_step_seconds_sum['deduct', 'moved']"] == pytest.approx(5)
    files = [*catalogue.folder_of(tmp_path).rglob("*.*")]
    assert len(files) <= 2 * 3, "a lock and two files for each of two concurrent processes"


def test_gauges_of_a_process_end_with_it(tmp_path: Path) -> None:
    said = tmp_path / "said"

    def show() -> None:
        found = {name: value for name, value in samples(tmp_path).items() if "breaker" in name}
        with said.open("a") as lines:
            lines.write(f"{list(found.values())}\n")

    def open_and_show() -> None:
        BREAKER_OPEN.set(1)
        show()

    def work() -> None:
        BREAKER_OPEN.set(0)
        child(open_and_show)
        show()

    program(tmp_path, work)
    show()
    assert said.read_text().splitlines() == ["[0.0, 1.0]", "[0.0]", "[]"]


def test_a_disk_that_is_full_silences_the_metrics_and_nothing_else(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def work() -> None:
        logging.disable()  # the log is on the same disk
        store = MetricStore(paused_for_s=0.0)
        store.use(catalogue.folder_of(tmp_path) / "api")
        values.ValueClass = store.value
        problems = Limited(Counter, "truepenny_problems_total", "For a test.", ("code",))
        problems.labels("before").inc()
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
        for number in range(99):
            problems.labels(f"code{number % 3}").inc()
            problems.labels("before").inc()
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        logging.disable(logging.NOTSET)
        for number in range(3):
            problems.labels(f"code{number}").inc()
        problems.labels("before").inc()

    assert program(tmp_path, work) == ["metrics_heard_again"]
    found = samples(tmp_path)
    assert found["truepenny_problems_total['before']"] == 101
    assert {found[f"truepenny_problems_total['code{number}']"] for number in range(3)} == {34}


def test_a_folder_that_cannot_be_made_is_logged_once_per_process(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("not a folder")

    def count_many() -> None:
        for _ in range(100):
            count_one()

    def work() -> None:
        count_many()
        child(count_many)

    assert program(tmp_path, work) == ["metrics_silent"] * 2
    assert families(tmp_path) == []


@pytest.mark.parametrize(
    "damage", [b"", b"\x01", b"\xff" * 100, b"\x40\0\0\0" + b"\x7f" * 60], ids=range(4)
)
def test_a_damaged_file_hides_only_itself_and_is_replaced(tmp_path: Path, damage: bytes) -> None:
    program(tmp_path, count_one)
    file = catalogue.folder_of(tmp_path) / "api" / "counter_api-0.db"
    file.rename(file.with_name("counter_api-7.db"))
    file.write_bytes(damage)
    assert samples(tmp_path) == ONE

    def count_in_the_same_place() -> None:
        STORE.use(file.parent)
        count_one()

    child(count_in_the_same_place)
    assert samples(tmp_path) == TWO


def test_every_run_starts_at_zero(tmp_path: Path) -> None:
    program(tmp_path, count_one)
    program(tmp_path, count_one)
    assert samples(tmp_path) == ONE


def test_two_programs_have_one_family(tmp_path: Path) -> None:
    for name in ("api", "money_2"):
        program(tmp_path, count_one, name=name)
    assert samples(tmp_path) == TWO
    printed = page(families(tmp_path), accept="").content.decode()
    assert printed.count("# TYPE truepenny_problems_total counter") == 1


def test_threads_lose_nothing(tmp_path: Path) -> None:
    def count(number: int) -> None:
        for _ in range(500):
            PROBLEMS.labels(f"code{number % 3}").inc()

    def work() -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(count, range(8)))

    program(tmp_path, work)
    assert sum(samples(tmp_path).values()) == 8 * 500


def test_a_fork_while_a_thread_makes_series_locks_no_metric_in_the_child(tmp_path: Path) -> None:
    ended = tmp_path / "ended"

    def make_many() -> None:
        for number in range(MAX_SERIES * 100):
            PROBLEMS.labels(f"thread{number}").inc()

    def count_in_time() -> None:
        signal.alarm(10)  # ends a child that hangs
        PROBLEMS.labels("child").inc()
        with ended.open("a") as lines:
            lines.write("ended\n")

    def work() -> None:
        threading.Thread(target=make_many, daemon=True).start()
        for _ in range(20):
            child(count_in_time)

    program(tmp_path, work)
    assert len(ended.read_text().splitlines()) == 20


def test_labels_beyond_the_limit_become_one_series(tmp_path: Path) -> None:
    def work() -> None:
        counter = Limited(Counter, "truepenny_test_total", "For a test.", ("one", "two"))
        for number in range(MAX_SERIES + 100):
            counter.labels(str(number), "two").inc()
        counter.labels("0", "two").inc()  # existing series stay

    program(tmp_path, work)
    found = samples(tmp_path)
    assert len(found) == MAX_SERIES + 1
    assert found["truepenny_test_total['other', 'other']"] == 100
    assert found["truepenny_test_total['0', 'two']"] == 2


def test_counters_start_at_zero_before_their_first_event(tmp_path: Path) -> None:
    program(tmp_path, lambda: None, zeros=catalogue.OF_WORKERS)
    found = samples(tmp_path)
    assert len(found) == len(catalogue.OF_WORKERS)
    assert set(found.values()) == {0}
    assert "truepenny_redriven_transfers_total['deducted']" in found


def test_names_labels_and_values_are_those_that_dashboards_know(tmp_path: Path) -> None:
    """Every metric is updated at least once, and the output equals the file next to this one."""

    def work() -> None:
        for took_s in (0.005, 0.2, 26.0):
            catalogue.REQUEST_SECONDS.labels("/v1/transfers", "POST", "2xx", "no").observe(took_s)
        STEP_SECONDS.labels("deduct", "moved").observe(0.3)
        catalogue.STEP_TRANSFERS.labels("deduct").observe(7)
        PROBLEMS.labels('quoted "code"\n').inc()
        catalogue.REDRIVEN.labels("deducted").inc(3)
        catalogue.DRAINED.labels("known").inc(0)
        catalogue.SCANS.labels("recover", "ok").inc()
        catalogue.count_client_error("wallet", None)
        BREAKER_OPEN.set(1)
        (tmp_path / "page").write_bytes(page(families(tmp_path), accept="").content)

    program(tmp_path, work)
    assert (tmp_path / "page").read_text() == Path(__file__).with_name(
        "metrics_page.txt"
    ).read_text()


def test_errors_of_browsers_are_counted_under_names_that_are_known_or_harmless(
    tmp_path: Path,
) -> None:
    def work() -> None:
        for where, panel in (("wallet", "send"), ("ops", None), ("<b>", "send"), ("ops", "Sén d")):
            catalogue.count_client_error(where, panel)
        for number in range(MAX_SERIES + 100):
            catalogue.count_client_error("wallet", f"panel-{number}")
        catalogue.count_client_error("wallet", "statement")  # our own names still get series

    program(tmp_path, work)
    labels = {
        (sample.labels["page"], sample.labels["panel"])
        for family in families(tmp_path)
        for sample in family.samples
    }
    assert labels == {
        *(("wallet", "send"), ("ops", "none"), ("other", "send"), ("ops", "other")),
        *(("wallet", "other"), ("wallet", "statement")),
    }


def test_every_panel_of_the_pages_is_counted_by_its_name() -> None:
    pages = "".join(file.read_text() for file in (ROOT / "web").rglob("*.js"))
    named = re.findall(r"<\$\{\w*(?:Panel|Boundary)\}[^>]*? name=\"([a-z-]+)\"", pages)
    assert set(named) == catalogue.PANELS


@pytest.mark.parametrize("version", ["abc", "1.x", "", "1.0.0.9999999999"])
def test_any_accept_header_gets_a_page(version: str) -> None:
    printed = page([], accept=f"application/openmetrics-text; version={version}")
    assert printed.content_type.startswith(("text/plain", "application/openmetrics-text"))
