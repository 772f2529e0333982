"""Health report: bounded checks, logging of failures, and the overall status."""

from __future__ import annotations

import threading
import time

import pytest

from monitoring.health.redis_info import SHARED_BROKER, SHARED_CACHE
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


def test_what_is_read_from_a_server_is_unknown_while_that_is_silent() -> None:
    release = threading.Event()

    def hang() -> Component:
        release.wait(30)
        return OK

    health = Health({"database": lambda: OK, "broker": lambda: OK, "workers": hang}, bound_s=0.2)
    report = health.report()
    assert (report.status, report.components["workers"].status) == ("degraded", "degraded")
    assert report.components["workers"].detail == "unknown: no answer within 0.2 s"
    release.set()


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
    assert health.report().status == "ok"


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


def test_prices_alone_degrade_only_themselves() -> None:
    static = Component("degraded", "static")
    assert overall({"database": OK, "broker": OK, "prices": static}) == "ok"
    assert overall({"database": OK, "broker": OK, "prices": static, "cache": static}) == "degraded"


def test_a_broker_that_refuses_writes_cannot_buffer() -> None:
    away, full = Component("down", ""), Component("degraded", "is full", refuses=True)
    assert overall({"database": away, "broker": full}) == "down"
    assert overall({"database": OK, "broker": full}) == "degraded"


@pytest.mark.parametrize(
    ("broker_id", "cache_id", "is_shared"),
    [("a", "a", True), ("a", "b", False), (None, None, False), ("a", None, False)],
)
def test_one_server_as_broker_and_cache_degrades_both(
    broker_id: str | None, cache_id: str | None, is_shared: bool
) -> None:
    broker = Component("ok", "answers", server_id=broker_id)
    cache = Component("degraded", "set allkeys-lru", server_id=cache_id)
    health = Health({"database": lambda: OK, "broker": lambda: broker, "cache": lambda: cache})
    report = health.report()
    assert report.status == "degraded"
    shown = report.components["broker"].detail, report.components["cache"].detail
    assert shown == ((SHARED_BROKER, SHARED_CACHE) if is_shared else (broker.detail, cache.detail))
    assert report.components["broker"].status == ("degraded" if is_shared else "ok")


def test_a_shared_server_still_says_what_is_wrong_with_it_as_a_broker() -> None:
    broker = Component("degraded", "is full", refuses=True, server_id="a")
    cache = Component("ok", "answers", server_id="a")
    health = Health({"database": lambda: OK, "broker": lambda: broker, "cache": lambda: cache})
    shown = health.report().components["broker"]
    assert shown.detail == f"is full; {SHARED_BROKER}"
    assert shown.refuses
