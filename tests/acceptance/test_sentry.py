"""Sentry reports of real processes, received on loopback: the allowed data and nothing else.

One stack serves all tests, and each adds to the received events. The last tests inspect all of
them, and then break Sentry.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from ledger.clients import create_client
from ledger.postgres.database import transaction
from stack.servers.ports import LOOPBACK
from testing.bank import Bank
from testing.fakes.sentry import Ingest, ingest
from testing.http_client import Caller
from testing.installation import ApiAndWorkers, api_and_workers
from testing.servers.databases import as_owner
from testing.worker_processes import BEAT, MONEY, SCANS, Workers, eventually

pytestmark = pytest.mark.acceptance

LINKS = ("money.reserve", "money.deduct", "money.credit", "money.commit")
STOPS_WITHIN_S = 20.0
"""Much more than the two seconds that a process waits for Sentry, for a busy machine."""

EMAIL = "alice.miller@mail.example.com"
PERSON = "Alice Wonderland-Miller"
REFERENCE = "invoice of the white rabbit"
METADATA = "quiet tea party"
KEY = "tea-party-order-key"
AMOUNT = "7319731.97"
SECRETS = (
    *(EMAIL, "alice.miller", PERSON, "Wonderland", REFERENCE, "rabbit", METADATA, KEY),
    *(
        AMOUNT,
        "731973197",
        "7319731",
        "Bearer",
        "Authorization",
        "python-requests",
        "SELECT",
        "INSERT",
    ),
)


@dataclass
class Watched:
    """A running Truepenny that reports to `sentry`."""

    sentry: Ingest
    bank: Bank
    caller: Caller
    workers: Workers
    api: psutil.Process
    api_log: Path
    source: str
    destination: str

    def submit(self) -> Any:
        """Submit a transfer full of confidential data, and wait until it ends."""
        body = {
            "source": self.source,
            "destination": self.destination,
            "asset": "USD",
            "amount": AMOUNT,
            "reference": REFERENCE,
            "metadata": {"note": METADATA, "email": EMAIL},
        }
        return self.caller.submit(body, key=f"{KEY}-{uuid.uuid4()}", prefer="wait=20")

    def transaction(self, name: str, *, trace_id: str) -> Any:
        def matches(found: Any) -> bool:
            trace = found["contexts"]["trace"]
            return (found["transaction"], trace["trace_id"]) == (name, trace_id)

        return self.sentry.find("transaction", matches)

    def run(self, statement: str) -> None:
        with as_owner(self.bank.engine) as connection:
            connection.execute(text(statement))

    @contextmanager
    def column_renamed(self, table: str, column: str) -> Iterator[None]:
        """Rename a column, as in a database of another version: its users fail for any data."""
        self.run(f"ALTER TABLE {table} RENAME {column} TO renamed")
        try:
            yield
        finally:
            self.run(f"ALTER TABLE {table} RENAME renamed TO {column}")

    @contextmanager
    def poisoned(self) -> Iterator[None]:
        """Make the database refuse every credit, with an error text full of confidential data."""
        self.run(f"""
            CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION '{PERSON} ({EMAIL}): % of {REFERENCE}', NEW; END $$;
            CREATE TRIGGER poison BEFORE INSERT ON postings FOR EACH ROW
            WHEN (NEW.leg = 'credit') EXECUTE FUNCTION poison();
        """)
        try:
            yield
        finally:
            self.run("DROP FUNCTION poison CASCADE")


@pytest.fixture(scope="module")
def sentry() -> Iterator[Ingest]:
    with ingest() as server:
        yield server


@pytest.fixture(scope="module")
def watched(
    sentry: Ingest,
    template_url: str,
    empty_broker_url: str,
    cache_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    folder: Path = tmp_path_factory.mktemp("watched")
    watching = {
        "SENTRY_DSN": sentry.dsn,
        "SENTRY_TRACES_SAMPLE_RATE": "1",
        "SENTRY_ENVIRONMENT": "tests",
        "SENTRY_RELEASE": "truepenny@test",
    }
    environment = watching | {"API_PROCESSES": "1"}
    with api_and_workers(
        template_url, empty_broker_url, cache_url, folder, **environment
    ) as started:
        started.workers.environment |= watching
        started.workers.start(BEAT)
        started.workers.ready(MONEY)
        yield _watched(sentry, started)


def _watched(sentry: Ingest, started: ApiAndWorkers) -> Watched:
    bank = started.bank
    with transaction(bank.engine) as connection:
        owner, api_key = create_client(connection, name=PERSON, scope="client", rate_limit="none")
    return Watched(
        sentry=sentry,
        bank=bank,
        caller=Caller(started.port, api_key),
        workers=started.workers,
        api=process_at(started.port),
        api_log=started.api_log,
        source=str(bank.wallet(100_000_000_000, owner=owner).id),
        destination=str(bank.wallet(owner=owner).id),
    )


def process_at(port: int) -> psutil.Process:
    """Return our process that serves this port."""
    for child in psutil.Process().children():
        if any(it.laddr.port == port for it in child.net_connections("tcp")):
            return child
    raise AssertionError(f"no process serves {port}")


def test_one_trace_goes_from_the_request_through_every_link(watched: Watched) -> None:
    assert watched.submit().status_code == 201
    begun = watched.sentry.find("transaction", lambda it: it["transaction"] == "POST /v1/transfers")
    trace = begun["contexts"]["trace"]
    assert trace["op"] == "http.server"
    assert trace["data"]["http.response.status_code"] == 201
    batches = set()
    for link in LINKS:
        found = watched.transaction(link, trace_id=trace["trace_id"])
        assert found["contexts"]["trace"]["parent_span_id"]
        assert found["contexts"]["trace"]["status"] == "ok"
        assert found["tags"]["program"] == "worker child"
        batches.add(found["tags"]["batch_id"])
    assert len(batches) == 1
    [sampling] = {
        item.envelope["trace"]["sample_rate"]
        for item in watched.sentry.items
        if item.kind == "transaction"
    }
    assert float(sampling) == 1


def test_a_trace_header_from_a_client_is_ignored(watched: Watched) -> None:
    claimed = "c" * 32
    answer = watched.caller.get("/v1/prices", **{"sentry-trace": f"{claimed}-{'d' * 16}-1"})
    assert answer.ok
    found = watched.sentry.find("transaction", lambda it: it["transaction"] == "GET /v1/prices")
    assert found["contexts"]["trace"]["trace_id"] != claimed


def test_a_bug_in_the_api_is_reported_with_its_request_id(watched: Watched) -> None:
    with watched.column_renamed("wallets", "metadata"):
        answer = watched.caller.get("/v1/wallets?limit=7")
    assert answer.status_code == 500
    event = watched.sentry.find("event", lambda it: it["tags"].get("program") == "api")
    assert event["logentry"]["message"] == "request_failed"
    assert event["tags"]["request_id"] == answer.headers["X-Request-Id"]
    assert event["tags"]["method"] == "GET"
    assert event["tags"]["sqlstate"] == "42703"
    [error] = event["exception"]["values"]
    assert error["type"] == "Misconfigured"
    assert any(it["function"] == "index" for it in error["stacktrace"]["frames"])
    assert (event["environment"], event["release"]) == ("tests", "truepenny@test")


def test_a_bug_in_a_worker_is_reported_with_its_batch(watched: Watched) -> None:
    with watched.poisoned():
        answer = watched.submit()
    assert answer.json()["code"] == "rolled_back"
    event = watched.sentry.find("event", lambda it: it["tags"].get("task") == "money.credit")
    assert event["logentry"]["message"] == "step_failed"
    assert event["tags"]["step"] == "credit"
    uuid.UUID(event["tags"]["batch_id"])
    assert event["tags"]["sqlstate"] == "P0001"
    assert event["exception"]["values"][-1]["type"] == "Poisoned"
    # The trace connects the error with the request it affected, and with the rollback.
    trace_id = event["contexts"]["trace"]["trace_id"]
    for name in ("POST /v1/transfers", "money.rollback"):
        watched.transaction(name, trace_id=trace_id)


def test_beats_work_checks_in_once_a_minute_and_says_when_it_fails(watched: Watched) -> None:
    def check_in(slug: str, status: str) -> Any:
        return watched.sentry.find(
            "check_in", lambda it: (it["monitor_slug"], it["status"]) == (slug, status)
        )

    with watched.column_renamed("unfinished", "moved_at"):
        watched.workers.ready(SCANS)
        failed = check_in("scans-recover", "error")
        event = watched.sentry.find("event", lambda it: it["tags"].get("task") == "scans.recover")
        assert event["exception"]["values"][-1]["type"] == "Misconfigured"
    assert failed["monitor_config"]["schedule"] == {
        "type": "interval",
        "value": 1,
        "unit": "minute",
    }
    check_in("scans-recover", "ok")
    check_in("intake-drain", "ok")
    check_ins = Counter(it["monitor_slug"] for it in watched.sentry.of_kind("check_in"))
    assert max(check_ins.values()) <= 4, "although they run every second"


def test_a_chain_started_by_the_recovery_scan_has_its_own_trace(watched: Watched) -> None:
    bank = watched.bank
    batch = bank.reach("reserved", bank.request(bank.wallet(100), bank.wallet(), 1))
    begun = watched.sentry.find("transaction", lambda it: it["transaction"] == "redrive")
    trace_id = begun["contexts"]["trace"]["trace_id"]
    for link in ("money.deduct", "money.credit", "money.commit"):
        found = watched.transaction(link, trace_id=trace_id)
        assert uuid.UUID(found["tags"]["batch_id"]) != batch, "a redrive makes a batch of its own"


def test_an_error_of_a_page_is_one_issue_for_each_bug(watched: Watched) -> None:
    report = {
        "page": "wallet",
        "panel": "transfers",
        "kind": "render",
        "name": "TypeError",
        "message": f"{EMAIL} has {AMOUNT}, says {watched.caller.api_key}",
        "stack": f"{EMAIL}\n    at row (http://pay.example/assets/wallet.js?k={KEY}:10:15)",
        "url": "/",
        "request_id": "0f8e" * 8,
        "count": 2,
    }
    visitor = Caller(watched.caller.port)
    assert visitor.post("/client-errors", report).status_code == 204
    event = watched.sentry.find("event", lambda it: it["platform"] == "javascript")
    assert event["fingerprint"] == ["browser", "wallet", "transfers", "TypeError"]
    assert event["tags"] == {
        "page": "wallet",
        "panel": "transfers",
        "kind": "render",
        "request_id": "0f8e" * 8,
        "program": "api",
    }
    assert event["extra"] == {"count": 2}
    [error] = event["exception"]["values"]
    assert error["value"] == "[email] has [number], says [key]"
    assert error["stacktrace"]["frames"] == [
        {
            "function": "row",
            "filename": "http://pay.example/assets/wallet.js",
            "lineno": 10,
            "colno": 15,
            "in_app": True,
        }
    ]


def test_a_repeated_error_is_reported_a_few_times(watched: Watched) -> None:
    before = len(watched.sentry.of_kind("event"))
    with watched.column_renamed("wallets", "metadata"):
        for _ in range(20):
            assert watched.caller.get("/v1/wallets").status_code == 500
    assert watched.caller.get("/v1/prices").ok
    eventually(lambda: watched.sentry.of_kind("transaction")[-1]["transaction"] == "GET /v1/prices")
    assert len(watched.sentry.of_kind("event")) - before <= 10


def test_no_confidential_data_was_reported(watched: Watched) -> None:
    received = watched.sentry.everything.decode()
    assert len(watched.sentry.of_kind("transaction")) > 10
    assert {item.kind for item in watched.sentry.items} >= {"event", "transaction", "check_in"}
    secrets = [*SECRETS, watched.caller.api_key, LOOPBACK]
    assert [each for each in secrets if str(each) in received] == []
    password = watched.bank.engine.url.password
    assert password is None or password not in received
    headers = " ".join(f"{it}" for it in watched.sentry.headers)
    assert [each for each in secrets if str(each) in headers and each != LOOPBACK] == []


def test_a_broken_sentry_is_logged_once_and_used_again_when_it_works(
    watched: Watched,
) -> None:
    watched.sentry.behaviour = "broken"
    for _ in range(50):
        assert watched.caller.get("/v1/prices").ok
    eventually(lambda: says_so(watched.api_log))
    watched.sentry.behaviour = "well"
    before = len(watched.sentry.items)
    assert watched.caller.get("/v1/prices").ok
    eventually(lambda: len(watched.sentry.items) > before)
    eventually(lambda: "sentry_told_again" in watched.api_log.read_text())
    assert says_so(watched.api_log)


def test_a_sentry_that_never_answers_delays_no_request_and_no_shutdown(watched: Watched) -> None:
    watched.sentry.behaviour = "silent"
    with watched.poisoned():
        assert watched.submit().json()["code"] == "rolled_back"
    for _ in range(300):  # more than the queue holds
        assert watched.caller.get("/v1/prices").ok
    assert watched.submit().status_code == 201
    for worker in watched.workers.started:
        worker.process.terminate()
    watched.api.terminate()
    for worker in watched.workers.started:
        assert worker.process.wait(STOPS_WITHIN_S) == 0, worker.log.read_text()[-2000:]
    watched.api.wait(STOPS_WITHIN_S)


def says_so(log: Path) -> bool:
    """Return whether the log says that Sentry is away; checks that it does so rarely."""
    times = log.read_text().count("sentry_not_told")
    assert times < 10
    return times > 0
