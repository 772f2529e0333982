"""Health report: bounded checks, logging of failures, and the overall status."""

from __future__ import annotations

import threading
import time

import pytest

from monitoring.health.report import Component, Health, HealthStatus, overall
from testing.thread_limit import no_new_threads
from testing.worker_processes import eventually

OK = Component("ok", "answers")


def test_a_report_names_every_component() -> None:
    report = Health({"database": lambda: OK, "broker": lambda: OK}).report()
    assert report.status == "ok"
    assert report.components == {"database": OK, "broker": OK}


def test_a_check_that_hangs_is_down_within_the_bound_and_is_not_started_twice() -> None:
    release, started = threading.Event(), []

    def hang() -> Component:
        started.append(1)
        release.wait(30)
        return OK

    health = Health({"database": lambda: OK, "broker": hang}, bound_s=0.2)
    begun = time.monotonic()
    for _ in range(3):
        assert health.report().components["broker"].status == "down"
    assert time.monotonic() - begun < 2
    assert len(started) == 1
    release.set()
    eventually(lambda: health.report().status == "ok")


def test_a_check_that_fails_is_down_without_internal_details(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> Component:
        raise ConnectionError("redis://:hunter2@host")

    report = Health({"database": lambda: OK, "broker": fail}).report()
    assert report.status == "degraded"
    assert report.components["broker"] == Component("down", "does not answer")
    assert "hunter2" not in caplog.text


def test_a_lasting_failure_is_logged_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    is_away = True

    def check() -> Component:
        if is_away:
            raise ConnectionError
        return OK

    health = Health({"database": check, "broker": lambda: OK})
    for is_away in (True, True, True, False, False, True, True):
        assert (health.report().status == "ok") is not is_away
    own = (record for record in caplog.records if record.name == "monitoring.health.report")
    assert [record.getMessage() for record in own] == [
        "health_check_failed",
        "health_check_well_again",
        "health_check_failed",
    ]


def test_a_component_without_a_thread_for_its_check_is_checked_again() -> None:
    health = Health({"database": lambda: OK, "broker": lambda: OK})
    with no_new_threads():
        assert health.report().status == "down"
        assert health.store() is None
    assert health.report().status == "ok"
    assert health.store() == "database"


@pytest.mark.parametrize(
    ("database", "broker", "cache", "whole"),
    [
        ("ok", "ok", "ok", "ok"),
        ("ok", "ok", "down", "degraded"),
        ("ok", "degraded", "ok", "degraded"),
        ("ok", "down", "ok", "degraded"),
        ("down", "ok", "ok", "degraded"),
        ("down", "degraded", "down", "degraded"),
        ("down", "down", "ok", "down"),
    ],
)
def test_the_status_is_down_only_when_transfers_can_be_neither_stored_nor_buffered(
    database: HealthStatus, broker: HealthStatus, cache: HealthStatus, whole: HealthStatus
) -> None:
    statuses = {"database": database, "broker": broker, "cache": cache}
    assert overall({name: Component(status, "") for name, status in statuses.items()}) == whole


def test_a_broker_that_refuses_writes_cannot_buffer() -> None:
    away, full = Component("down", ""), Component("degraded", "is full", refuses=True)
    assert overall({"database": away, "broker": full}) == "down"
    assert overall({"database": OK, "broker": full}) == "degraded"
    assert Health({"database": lambda: away, "broker": lambda: full}).store() is None
    assert Health({"database": lambda: OK, "broker": lambda: full}).store() == "database"


def test_a_working_store_is_found_although_the_other_hangs() -> None:
    release = threading.Event()

    def hang() -> Component:
        release.wait(30)
        return OK

    for checks, found in (
        ({"database": lambda: OK, "broker": hang}, "database"),
        ({"database": hang, "broker": lambda: OK}, "broker"),
        ({"database": hang, "broker": hang}, None),
    ):
        begun = time.monotonic()
        assert Health(checks, bound_s=0.2).store() == found
        assert time.monotonic() - begun < 2
    release.set()
