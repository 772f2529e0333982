"""Settlement end to end over HTTP: gunicorn, Celery workers, beat, broker and database."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ledger.clients import create_client
from ledger.postgres.database import transaction
from testing.bank import Bank
from testing.http_client import Caller
from testing.installation import api_and_workers
from testing.worker_processes import BEAT, MONEY, SCANS, Workers, eventually

pytestmark = pytest.mark.acceptance

SETTLE_WITHIN_S = 60.0


@dataclass
class Truepenny:
    """A running Truepenny with an empty ledger."""

    caller: Caller
    bank: Bank
    workers: Workers

    def wallet(self, funds: int = 0) -> str:
        owner = self.bank.client
        return str(self.bank.wallet(funds, owner=owner).id)

    def balance(self, wallet: str) -> str:
        answer: str = self.caller.get(f"/v1/wallets/{wallet}").json()["balance"]
        return answer

    def transfer(self, source: str, destination: str, amount: str) -> dict[str, Any]:
        return {"source": source, "destination": destination, "asset": "USD", "amount": amount}

    def settled(self) -> None:
        eventually(lambda: self.bank.unfinished() == 0, within_s=SETTLE_WITHIN_S)
        self.bank.audit()


@pytest.fixture(scope="module")
def truepenny(
    template_url: str,
    empty_broker_url: str,
    cache_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Truepenny]:
    folder: Path = tmp_path_factory.mktemp("engine")
    with api_and_workers(template_url, empty_broker_url, cache_url, folder) as started:
        started.workers.start(BEAT)
        started.workers.ready(SCANS, MONEY)
        bank = started.bank
        with transaction(bank.engine) as connection:
            bank.client, key = create_client(
                connection, name="test", scope="client", rate_limit="none"
            )
        yield Truepenny(Caller(started.port, key), bank, started.workers)


def test_a_transfer_settles_while_its_client_waits(truepenny: Truepenny) -> None:
    source, destination = truepenny.wallet(100_00), truepenny.wallet()
    body = truepenny.transfer(source, destination, "12.50")
    answer = truepenny.caller.submit(body, prefer="wait=15")
    assert answer.status_code == 201
    assert answer.json()["state"] == "committed"
    shown = truepenny.caller.get(answer.headers["Location"]).json()
    events = [entry["event"] for entry in shown["timeline"]]
    assert events == ["accepted", "reserved", "deducted", "credited", "committed"]
    times = [entry["at"] for entry in shown["timeline"]]
    assert times == sorted(times)
    assert truepenny.balance(source) == "87.50"
    assert truepenny.balance(destination) == "12.50"


def test_a_transfer_without_funds_at_reserve_is_rejected_for_good(truepenny: Truepenny) -> None:
    source, destination = truepenny.wallet(10_00), truepenny.wallet()
    batch = {
        "transfers": [
            truepenny.transfer(source, destination, amount) | {"idempotency_key": uuid.uuid4().hex}
            for amount in ("7.00", "5.00", "3.00")
        ]
    }
    answer = truepenny.caller.post("/v1/transfers/batch", json=batch)
    assert answer.status_code == 202
    truepenny.settled()
    states = [
        truepenny.caller.get(f"/v1/transfers/{result['id']}").json()["state"]
        for result in answer.json()["results"]
    ]
    assert states == ["committed", "rejected", "committed"]
    refused = batch["transfers"][1]
    key = refused.pop("idempotency_key")
    repeat = truepenny.caller.submit(refused, key=key)
    assert repeat.status_code == 400
    assert repeat.json()["code"] == "insufficient_funds"
    assert repeat.json()["transfer_id"] == answer.json()["results"][1]["id"]
    assert repeat.headers["Idempotent-Replayed"] == "true"


def test_200_threads_with_one_key_make_one_transfer(truepenny: Truepenny) -> None:
    source, destination = truepenny.wallet(1_000_00), truepenny.wallet()
    body = truepenny.transfer(source, destination, "1.00")
    key = str(uuid.uuid4())

    def submit(_: int) -> tuple[int, str]:
        own = Caller(truepenny.caller.port, truepenny.caller.api_key)
        answer = own.submit(body, key=key)
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(200) as threads:
        answers = list(threads.map(submit, range(200)))
    assert {status for status, _ in answers} <= {200, 202}
    assert len({id for _, id in answers}) == 1
    truepenny.settled()
    assert truepenny.balance(destination) == "1.00"


def test_1000_transfers_each_way_at_once_net_to_zero(truepenny: Truepenny) -> None:
    left, right = truepenny.wallet(10_000_00), truepenny.wallet(10_000_00)
    routes = [(left, right), (right, left)] * 1_000
    callers = [Caller(truepenny.caller.port, truepenny.caller.api_key) for _ in range(16)]

    def submit(lane: int) -> set[int]:
        return {
            callers[lane].submit(truepenny.transfer(*route, "3.00")).status_code
            for route in routes[lane::16]
        }

    with ThreadPoolExecutor(16) as threads:
        statuses = set().union(*threads.map(submit, range(16)))
    assert statuses == {202}
    truepenny.settled()
    assert truepenny.balance(left) == truepenny.balance(right) == "10000.00"


def test_a_worker_killed_again_and_again_under_load_loses_nothing(truepenny: Truepenny) -> None:
    wallets = [truepenny.wallet(500_00) for _ in range(8)]
    accepted: list[str] = []

    def submit(seed: int) -> list[str]:
        choice = random.Random(seed)  # noqa: S311 - which wallets pay whom is no secret
        own = Caller(truepenny.caller.port, truepenny.caller.api_key)
        ids = []
        for _ in range(100):
            source, destination = choice.sample(wallets, 2)
            answer = own.submit(
                truepenny.transfer(source, destination, f"{choice.randint(1, 300)}.00")
            )
            # Rejected at once for lack of funds, or accepted and settled later.
            assert answer.status_code in {202, 400}, answer.text
            ids.append(answer.json().get("id") or answer.json()["transfer_id"])
        return ids

    with ThreadPoolExecutor(4) as threads:
        lanes = [threads.submit(submit, seed) for seed in range(4)]
        for _ in range(3):
            victim = next(each for each in truepenny.workers.started if each.is_money_alive)
            victim.kill_group()
            truepenny.bank.audit()
            truepenny.workers.ready(MONEY)
        for lane in lanes:
            accepted += lane.result()
    truepenny.settled()
    states = {truepenny.bank.state(uuid.UUID(id)) for id in accepted}
    assert states <= {"committed", "rejected"}
    assert len(set(accepted)) == 400


def test_a_corrupted_balance_is_found_and_rebuilt_by_a_run_of_an_admin(
    truepenny: Truepenny,
) -> None:
    """This test comes last, because the others do not expect a corrupted balance."""
    bank = truepenny.bank
    with transaction(bank.engine) as connection:
        _, key = create_client(connection, name="operator", scope="admin", rate_limit="none")
    admin = Caller(truepenny.caller.port, key)
    eventually(lambda: admin.get("/v1/reconciliations").json()["data"], within_s=30)
    runs = admin.get("/v1/reconciliations").json()["data"]
    assert [run["trigger"] for run in runs] == ["schedule"], "beat has begun it"
    eventually(lambda: run_of(admin, runs[0]["id"])["state"] != "running", within_s=30)
    assert (run_of(admin, runs[0]["id"])["findings"]) == [], "while transfers ran and workers died"

    wallet = truepenny.wallet(5_00)
    with transaction(bank.engine) as connection:
        spoil = text("UPDATE wallets SET balance = balance + 1 WHERE id = :id")
        connection.execute(spoil, {"id": uuid.UUID(wallet)})
    answer = admin.post("/v1/reconciliations")
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/reconciliations/{answer.json()['id']}"
    eventually(lambda: run_of(admin, answer.json()["id"])["state"] == "finished", within_s=30)
    ended = run_of(admin, answer.json()["id"])
    [found] = ended["findings"]
    assert (found["kind"], found["wallet"]) == ("projection_wrong", wallet)
    assert (found["action"], found["transfer"]) == ("rebuilt", None)
    assert (found["before"], found["after"]) == ({"balance": "5.01"}, {"balance": "5.00"})
    assert (ended["trigger"], ended["findings_count"]) == ("operator", 1)
    assert truepenny.balance(wallet) == "5.00"
    bank.audit()


def run_of(admin: Caller, id: str) -> dict[str, Any]:
    run: dict[str, Any] = admin.get(f"/v1/reconciliations/{id}").json()
    return run
