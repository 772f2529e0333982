"""Snapshot: shows all working parts, and a reason for each part that hangs or fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator

from api.app import create_app
from api.openapi.document import build_document
from api.ops.overview import PURPOSES, overview_answer
from api.ops.reconciliation_status import ReconciliationStatus
from api.ops.snapshot import BrokerPart, CachePart, DatabasePart, Snapshot, Snapshots
from api.ops.snapshot_metrics import snapshot_families
from ledger.clients import Client
from ledger.errors import Unavailable, Unreachable
from ledger.transfer_counts import TransferCounts
from monitoring.health.report import Component, Health, Report
from monitoring.job_runs import SHOWN, JobNote
from monitoring.metrics.exposition import page
from prices.quotes import Quote
from tasks.broker import queues
from testing.fakes.known_keys import ring_of
from testing.thread_limit import no_new_threads
from testing.worker_processes import eventually
from tests.unit.api.test_api_application import make_services

OK = Component("ok", "answers")
STATES = dict.fromkeys(
    ("accepted", "reserved", "deducted", "credited", "committed", "rejected", "rolled_back"), 7
)
DATABASE = DatabasePart(TransferCounts(STATES, 3, None))  # type: ignore[arg-type]
LOOKS: dict[str, Callable[[], Any]] = {
    "database": lambda: DATABASE,
    "broker": lambda: BrokerPart({"scans": 1}, 2),
    "cache": lambda: CachePart({"money2@host": 4, "scans@host": 99}, {}),
    "prices": lambda: [Quote("BTCUSDT", Decimal(1), "static")],
}


@pytest.fixture
def hang() -> Iterator[Callable[[], Any]]:
    release = threading.Event()
    yield lambda: release.wait(30)
    release.set()


def seen(**looks: Callable[[], Any]) -> Snapshot:
    return snapshots(**looks).take()


def snapshots(**looks: Callable[[], Any]) -> Snapshots:
    health = Health({"database": lambda: OK, "broker": lambda: OK})
    return Snapshots(
        health=health,
        breaker_state=lambda: "closed",
        pressure=lambda: (False, None),
        **(LOOKS | looks),
    )


def test_the_snapshot_is_complete_when_everything_works() -> None:
    assert seen().unknown == {}
    assert seen().database == DATABASE


def test_a_part_that_hangs_is_unknown_in_time_and_hides_no_other(
    hang: Callable[[], Any],
) -> None:
    watched = snapshots(database=hang, cache=hang)
    threads = threading.active_count()
    begun_s = time.monotonic()
    for _ in range(3):
        found = watched.take()
        assert (found.database, found.cache, found.broker) == (
            None,
            None,
            BrokerPart({"scans": 1}, 2),
        )
        assert found.unknown == {
            "database": "the database did not answer within 0.9 s",
            "cache": "the cache did not answer within 0.9 s",
        }
    assert time.monotonic() - begun_s < 3 * 2
    assert threading.active_count() <= threads + 2


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (Unreachable(), "the broker does not answer"),
        (ConnectionError("redis://:hunter2@host"), "the broker does not answer"),
        (Unavailable(), "the broker could not be read just now"),
    ],
)
def test_a_part_that_fails_is_unknown_with_our_own_reason(
    error: Exception, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Any:
        raise error

    watched = snapshots(broker=fail)
    for _ in range(3):
        assert watched.take().unknown == {"broker": why}
    assert "hunter2" not in caplog.text
    assert [record.message for record in caplog.records] == ["look_failed"]


def test_without_room_for_a_thread_everything_is_unknown() -> None:
    watched = snapshots()
    with no_new_threads():
        found = watched.take()
    assert set(found.unknown) == set(LOOKS)
    eventually(lambda: watched.take().unknown == {})


def test_concurrent_readers_share_one_snapshot() -> None:
    looks: list[int] = []

    def look() -> DatabasePart:
        looks.append(1)
        return DATABASE

    watched = snapshots(database=look)
    for _ in range(20):
        assert watched.take().database == DATABASE
    assert len(looks) <= 2


def test_the_overview_shows_known_parts_and_reasons_for_unknown_ones() -> None:
    nothing = Snapshot(
        at=datetime.now(UTC),
        health=Report("down", {}),
        breaker_state="open",
        database=None,
        broker=None,
        cache=None,
        prices=None,
        unknown=dict.fromkeys(LOOKS, "why"),
    )
    document = overview_answer(nothing, flower_url=None)
    assert set(document["transfers"]["states"].values()) == {None}
    assert [document[part] for part in ("queues", "workers", "prices", "scans")] == [None] * 4
    assert document["unknown"] == dict.fromkeys(
        ("transfers", "buffered", "queues", "workers", "scans", "prices"), "why"
    )


def test_the_overview_shows_live_workers_and_late_scans() -> None:
    note = JobNote(ok=True, result="nothing stood still", age_s=90)
    found = replace(seen(), cache=CachePart(LOOKS["cache"]().heartbeats, {"recovery": note}))
    document: Any = overview_answer(found, flower_url=None)
    assert document["workers"] == [
        {"name": "money2@host", "program": "money", "age_s": 4, "alive": True},
        {"name": "scans@host", "program": "scans", "age_s": 99, "alive": False},
    ]
    recovery, drain, *_ = document["scans"]
    age = found.at - datetime.fromisoformat(recovery["at"])
    assert 89 < age.total_seconds() < 91
    assert (drain["at"], drain["ok"]) == (None, False)
    assert [scan["name"] for scan in document["scans"]] == [*SHOWN, "reconciliation"]


def test_reconciliation_is_a_scan_like_the_others_with_counted_findings() -> None:
    note = JobNote(ok=False, result="1 balance was wrong", age_s=7)
    books = ReconciliationStatus(note, 0.25, {("balance", "rebuilt"): 1})
    found = seen(database=lambda: DatabasePart(DATABASE.counts, books))
    document: Any = overview_answer(found, flower_url=None)
    *_, scan = document["scans"]
    assert (scan["name"], scan["ok"], scan["result"]) == (
        "reconciliation",
        False,
        "1 balance was wrong",
    )
    printed = page(list(snapshot_families(found)), accept="").content.decode()
    labels = 'action="rebuilt",kind="balance"'
    assert f"truepenny_reconciliation_findings_total{{{labels}}} 1.0" in printed
    assert 'truepenny_scan_age_seconds{scan="reconciliation"} 7.0' in printed
    assert "truepenny_reconciliation_progress 0.25" in printed


def test_a_reconciliation_that_never_ran_is_a_failing_scan() -> None:
    found = seen(database=lambda: DATABASE)
    document: Any = overview_answer(found, flower_url=None)
    *_, scan = document["scans"]
    assert (scan["name"], scan["at"], scan["ok"]) == ("reconciliation", None, False)
    printed = page(list(snapshot_families(found)), accept="").content.decode()
    assert 'truepenny_scan_ok{scan="reconciliation"} 0.0' in printed
    families = list(snapshot_families(replace(found, database=None)))
    assert "reconciliation" not in page(families, accept="").content.decode()


def test_every_queue_has_a_purpose() -> None:
    assert set(PURPOSES) == {*queues.HINTS, "intake", "set aside"}


def test_the_overview_is_answered_with_every_server_away_and_as_described() -> None:
    services = make_services()
    admin = Client(uuid4(), "admin", "admin", None)
    services = replace(services, keys=ring_of(lambda _: admin))
    client = create_app(services).test_client()
    answer = client.get("/v1/ops/overview", headers={"Authorization": "Bearer key"})
    assert answer.status_code == 200
    document = build_document()
    schema = {"$ref": "#/components/schemas/OverviewAnswer", "components": document["components"]}
    found: Any = answer.json
    Draft202012Validator(schema).validate(found)
    assert found["status"] == "down"
    assert set(found["unknown"]) == {"transfers", "buffered", "queues", "workers", "scans"}
