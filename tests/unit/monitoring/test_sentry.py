"""Sentry reports: what would be sent, decided without a Sentry."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sentry_sdk import Client
from sentry_sdk.utils import event_from_exception

from ledger.errors import InvariantBroken, Poisoned
from monitoring.sentry.allowlist import WITHHELD, allowed_event, allowed_transaction
from monitoring.sentry.check_ins import CheckInThrottle, config, slug
from monitoring.sentry.client import QUEUE_SIZE, BriefTransport
from monitoring.sentry.quota import MAX_KEYS, EventQuota
from settings import SettingsError
from testing.fakes.sentry import Ingest, ingest
from testing.identity import IDENTITY
from testing.manual_clock import ManualClock
from testing.servers.shared import ROOT
from tests.unit.settings.test_settings import URLS, read

ID = "0199a3c2-5e80-7a31-9c4e-2f6b8d0e1a57"
SECRET = "alice.miller@example.com"


TRACE = {"trace_id": "a" * 32, "op": "http.server"}


def test_it_is_off_without_a_dsn() -> None:
    settings = read()
    assert (settings.sentry_dsn, settings.sentry_environment) == (None, "production")
    assert settings.sentry_traces_sample_rate == 0.01


@pytest.mark.parametrize(
    "dsn",
    ["https://key@sentry.example/42", "http://key:secret@127.0.0.1:9000/prefix/42"],
)
def test_a_sentry_dsn_is_read(dsn: str) -> None:
    assert read(SENTRY_DSN=dsn).sentry_dsn == dsn


@pytest.mark.parametrize(
    "dsn",
    [
        "hush",
        "hush@sentry.example/42",
        "ftp://hush@sentry.example/42",
        "https://sentry.example/42",
        "https://hush@sentry.example",
        "https://hush@sentry.example/project",
        "https://hush@sentry.example:port/42",
        "https://hush@sentry.example/42?x=y",
        "https://hush@[/42",
        "https://hush@/42",
    ],
)
def test_an_invalid_dsn_stops_the_start_and_is_not_shown(dsn: str) -> None:
    with pytest.raises(SettingsError, match="SENTRY_DSN must be a DSN such as") as caught:
        read(SENTRY_DSN=dsn)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SENTRY_ENVIRONMENT", "two words"),
        ("SENTRY_RELEASE", "x" * 65),
        ("SENTRY_TRACES_SAMPLE_RATE", "1.1"),
        ("SENTRY_TRACES_SAMPLE_RATE", "-0.1"),
        ("SENTRY_TRACES_SAMPLE_RATE", "half"),
    ],
)
def test_an_unusable_sentry_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read(**{name: value})


def test_without_a_dsn_the_sdk_is_not_imported() -> None:
    program = "import sys, wsgi, workers.app; sys.exit('sentry_sdk' in sys.modules)"
    environment = {**IDENTITY, **URLS, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, check=True)


def fail(error: Exception, _local: str) -> None:
    raise error


def reported(error: Exception, **more: Any) -> dict[str, Any]:
    """Return the event of an error raised here, as the SDK would pass it on."""
    try:
        fail(error, SECRET)
    except Exception as raised:  # noqa: BLE001 - whatever it is
        event, _ = event_from_exception(
            raised
        )  # with local variables, which our configuration leaves out
        assert SECRET in json.dumps(event, default=str)
    allowed = allowed_event({**event, "platform": "python", **more}, {})
    assert allowed is not None
    return allowed


def text_of(error: Exception) -> str:
    text: str = reported(error)["exception"]["values"][-1]["value"]
    return text


def test_the_texts_of_exceptions_stay_unless_they_are_ours_or_made_of_names() -> None:
    assert text_of(ValueError(f"{SECRET} has 12.50")) == WITHHELD
    assert text_of(KeyError(SECRET)) == WITHHELD
    assert text_of(InvariantBroken("A wallet of 12.50.")) == "A wallet of [number]."
    assert text_of(TypeError("can only join an iterable")) == "can only join an iterable"
    assert text_of(TypeError(f"not {SECRET}")) == "not [email]"


def test_notes_of_an_error_stay_and_its_cause_is_treated_alike() -> None:
    error = Poisoned("The database refused the data (23505).")
    error.add_note(f"23505 · {SECRET}")
    error.__cause__ = ValueError(SECRET)
    allowed = reported(error)
    assert [it["value"] for it in allowed["exception"]["values"]] == [
        WITHHELD,
        "The database refused the data ([number]).",
    ]
    assert allowed["tags"] == {"sqlstate": "23505"}


def test_only_fields_on_the_allowlist_are_sent() -> None:
    everywhere = {"secret": SECRET, "headers": {"Authorization": f"Bearer {SECRET}"}}
    allowed = reported(
        ValueError("x"),
        request={**everywhere, "url": f"https://x/?q={SECRET}", "data": SECRET},
        user={"ip_address": "192.0.2.1", "email": SECRET},
        extra={"amount": 1250, "halves": 2, "celery-job": everywhere, "count": SECRET},
        tags={"batch_id": ID, "step": f"deduct {SECRET}", "secret": SECRET, "entry": None},
        contexts={"trace": TRACE | {"data": everywhere}, "other": everywhere},
        breadcrumbs={
            "values": [
                {"category": "x", "message": "redriven", "data": {"batch_id": ID, **everywhere}},
                {"category": "x", "message": f"query {SECRET}", "data": everywhere},
            ]
        },
        modules=everywhere,
        threads=everywhere,
        transaction=f"/wallets/{SECRET}",
        logentry={"message": f"to {SECRET}", "params": [SECRET]},
        server_name="api-1",
        anything=everywhere,
    )
    assert SECRET not in json.dumps(allowed)
    assert "192.0.2.1" not in json.dumps(allowed)
    assert allowed["tags"] == {"batch_id": ID, "step": "deduct [email]"}
    assert allowed["extra"] == {"halves": 2}
    assert allowed["contexts"] == {"trace": TRACE}
    assert allowed["breadcrumbs"]["values"] == [
        {"category": "x", "message": "redriven", "data": {"batch_id": ID}},
        {"category": "x", "message": "", "data": {}},
    ]
    assert "request" not in allowed


def test_an_error_outside_a_trace_has_no_trace() -> None:
    assert "contexts" not in reported(ValueError("x"), contexts={"trace": {"trace_id": "a" * 32}})


def test_a_transaction_is_sent_without_its_spans() -> None:
    span = {"op": "db", "description": f"SELECT '{SECRET}'", "data": {"x": SECRET}}
    allowed = allowed_transaction(
        {"type": "transaction", "transaction": "POST /v1/x", "spans": [span], "request": span}, {}
    )
    assert SECRET not in json.dumps(allowed)
    assert (allowed["transaction"], allowed["spans"]) == ("POST /v1/x", [])


def test_other_kinds_of_items_are_not_sent() -> None:
    assert allowed_event({"type": "feedback", "message": SECRET}, {}) is None


def test_a_repeated_error_is_sent_a_few_times_and_then_counted() -> None:
    clock = ManualClock()
    budget = EventQuota(burst=3, per_minute=1, clock=clock)
    assert [budget.spend("a") for _ in range(6)] == [0, 0, 0, None, None, None]
    assert budget.spend("b") == 0, "a different error is still sent"
    clock.now_s += 60
    assert [budget.spend("a") for _ in range(2)] == [3, None]


def test_many_different_errors_are_bounded_too() -> None:
    clock = ManualClock()
    budget = EventQuota(burst_of_all=10, per_minute_of_all=1, clock=clock)
    assert [budget.spend(n) for n in range(12)] == [*[0] * 10, None, None]
    for n in range(10 * MAX_KEYS):
        budget.spend(n)
    assert len(budget._buckets) == MAX_KEYS


def test_a_job_of_every_second_checks_in_once_a_minute() -> None:
    clock = ManualClock()
    throttle = CheckInThrottle(clock)
    due = []
    for _ in range(180):
        due.append(throttle.is_due("x", ok=True))
        clock.now_s += 1
    assert due.count(True) == 3
    assert due[0]


def test_a_failing_job_checks_in_after_a_minute_without_success() -> None:
    clock = ManualClock()
    throttle = CheckInThrottle(clock)
    assert throttle.is_due("x", ok=True)
    assert not throttle.is_due("x", ok=False), "one of many"
    clock.now_s += 61
    assert throttle.is_due("x", ok=False)
    assert not throttle.is_due("x", ok=False)
    assert throttle.is_due("x", ok=True)
    assert CheckInThrottle(clock).is_due("x", ok=False), "the first one ever"


def test_a_monitor_knows_when_to_miss_a_check_in() -> None:
    assert slug("monitors.watch_servers") == "monitors-watch-servers"
    assert config(0.2)["schedule"] == {"type": "interval", "value": 1, "unit": "minute"}
    assert config(300)["schedule"]["value"] == 5


@pytest.fixture
def sentry() -> Iterator[Ingest]:
    with ingest() as server:
        yield server


@pytest.fixture
def client(sentry: Ingest) -> Iterator[Client]:
    """Return the Sentry client of one of our processes."""
    client = Client(
        dsn=sentry.dsn,
        transport=BriefTransport,
        transport_queue_size=QUEUE_SIZE,
        default_integrations=False,
        release="",
    )
    yield client
    client.close(timeout=0)


def test_a_sentry_that_asks_to_wait_is_left_alone(sentry: Ingest, client: Client) -> None:
    sentry.behaviour = "limited"
    client.capture_event({"message": "x"})
    client.flush(timeout=20)
    sentry.behaviour = "well"
    for _ in range(50):
        client.capture_event({"message": "x"})
    client.flush(timeout=20)
    assert sentry.requests == 1


@pytest.mark.parametrize("behaviour", ["broken", "refusing"])
def test_a_broken_sentry_is_logged_as_one_event(
    sentry: Ingest, client: Client, caplog: pytest.LogCaptureFixture, behaviour: Any
) -> None:
    sentry.behaviour = behaviour
    for _ in range(5):
        client.capture_event({"message": "x"})
    client.flush(timeout=20)
    assert sentry.requests == 5 + 1, "every event is counted, none twice"
    # Threads of earlier tests may log meanwhile.
    lines = [line for line in caplog.records if line.name == "monitoring.sentry.client"]
    times = [line.truepenny_fields["times"] for line in lines]  # type: ignore[attr-defined]
    assert times == [1, 2, 4]
    assert {line.message for line in lines} == {"sentry_not_told"}


def test_events_for_a_silent_sentry_are_dropped_at_a_limit(sentry: Ingest, client: Client) -> None:
    sentry.behaviour = "silent"
    for _ in range(3 * QUEUE_SIZE):
        client.capture_event({"message": "x"})
    assert isinstance(client.transport, BriefTransport)
    assert client.transport._is_worker_full()
    assert client.transport._worker._queue.qsize() == QUEUE_SIZE  # type: ignore[attr-defined]


def test_the_settings_never_show_the_dsn() -> None:
    assert "hush" not in repr(read(SENTRY_DSN="https://hush@sentry.example/42"))
