"""Log lines of real processes: each has the ids of its own request or task, and no others."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ledger.clients import Client, create_client
from ledger.postgres.database import transaction
from testing.bank import Bank
from testing.http_client import Caller
from testing.installation import api_and_workers
from testing.servers.databases import as_owner
from testing.worker_processes import MONEY, CeleryProcess, eventually

pytestmark = pytest.mark.acceptance

REQUESTS = 40
IDS = {"request_id", "client_id", "transfer_id", "batch_id", "task_id", "task"}
POISON = """
    CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
    CREATE TRIGGER poison BEFORE INSERT ON postings FOR EACH ROW
    WHEN (NEW.leg = 'credit') EXECUTE FUNCTION poison();
"""


@dataclass
class Running:
    bank: Bank
    caller: Caller
    owner: Client
    worker: CeleryProcess
    api_log: Path

    def run(self, statement: str) -> None:
        with as_owner(self.bank.engine) as connection:
            connection.execute(text(statement))


@pytest.fixture(scope="module")
def running(
    template_url: str,
    empty_broker_url: str,
    cache_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("logs")
    with api_and_workers(
        template_url, empty_broker_url, cache_url, folder, API_PROCESSES="1"
    ) as started:
        [worker] = started.workers.ready(MONEY)
        with transaction(started.bank.engine) as connection:
            client, api_key = create_client(connection, name="x", scope="client", rate_limit="none")
        caller = Caller(started.port, api_key)
        yield Running(started.bank, caller, client, worker, started.api_log)


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def of_event(log: Path, event: str) -> list[dict[str, Any]]:
    return [line for line in lines(log) if line["event"] == event]


def test_concurrent_requests_each_have_their_own_ids(running: Running) -> None:
    sent = {f"request-{number}": str(uuid.uuid4()) for number in range(REQUESTS)}

    def read(request_id: str) -> int:
        caller = Caller(running.caller.port, running.caller.api_key)
        headers = {"X-Request-Id": request_id}
        return caller.get(f"/v1/transfers/{sent[request_id]}", **headers).status_code

    running.run("ALTER TABLE transfers RENAME metadata TO renamed")
    try:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(read, sent)) == {500}
    finally:
        running.run("ALTER TABLE transfers RENAME renamed TO metadata")
    failed = of_event(running.api_log, "request_failed")
    assert {line["request_id"]: line["transfer_id"] for line in failed} == sent
    assert len(failed) == REQUESTS
    assert {line["client_id"] for line in failed} == {str(running.owner.id)}
    assert str(running.caller.api_key) not in running.api_log.read_text()


def test_a_request_that_gunicorn_refuses_has_its_own_id(running: Running) -> None:
    answer = running.caller.raw(b"NOT HTTP\r\n\r\n")
    [line] = of_event(running.api_log, "request_refused")
    assert line["request_id"].encode() in answer
    assert not (IDS - {"request_id"}) & line.keys()


def test_lines_of_gunicorn_have_the_same_shape(running: Running) -> None:
    started = [line for line in lines(running.api_log) if line["logger"] == "gunicorn.error"]
    assert started
    assert all(list(line) == ["at", "level", "logger", "process", "event"] for line in started)


def test_the_lines_of_each_task_have_the_ids_of_that_task(
    running: Running,
) -> None:
    log = running.worker.log
    owner = running.owner
    wallets = running.bank.wallet(100, owner=owner), running.bank.wallet(owner=owner)
    source, destination = (str(wallet.id) for wallet in wallets)
    body = {"source": source, "destination": destination, "asset": "USD", "amount": "1.00"}
    running.run(POISON)
    try:
        answer = running.caller.submit(body, prefer="wait=20")
    finally:
        running.run("DROP FUNCTION poison CASCADE")
    assert answer.json()["code"] == "rolled_back"
    eventually(lambda: of_event(log, "rolled_back"))
    [failed] = of_event(log, "step_failed")
    [undone] = of_event(log, "rolled_back")
    assert (failed["task"], undone["task"]) == ("money.credit", "money.rollback")
    assert failed["batch_id"] == undone["batch_id"]
    assert failed["task_id"] != undone["task_id"]
    uuid.UUID(failed["task_id"])
    [ready] = (line for line in lines(log) if line["event"].endswith(" ready."))
    assert not IDS & ready.keys()
