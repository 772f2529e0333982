"""Operations overview over HTTP: access, shape and content."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import text

from api.openapi.document import build_document
from monitoring.job_runs import JobRuns
from testing.bank import Bank
from testing.http_client import Caller
from testing.identity import KEY_PREFIX
from testing.worker_processes import eventually
from tests.acceptance.conftest import WalletPair
from tests.acceptance.http.contract import assert_invalid, assert_problem

pytestmark = pytest.mark.acceptance

OVERVIEW = "/v1/ops/overview"


def overview(admin: Caller) -> dict[str, Any]:
    answer = admin.get(OVERVIEW)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_it_is_for_admins(client: Caller, api_port: int) -> None:
    assert_problem(client.get(OVERVIEW), 403, "forbidden")
    assert_problem(Caller(api_port).get(OVERVIEW), 401, "unauthenticated")


def test_it_takes_no_parameters(admin: Caller) -> None:
    assert_invalid(admin.get(f"{OVERVIEW}?limit=1"))


def test_it_has_the_shape_that_is_described(admin: Caller) -> None:
    components = build_document()["components"]
    schema = {"$ref": "#/components/schemas/OverviewAnswer", "components": components}
    Draft202012Validator(schema).validate(overview(admin))


def test_it_counts_every_transfer_in_its_state(
    admin: Caller, client: Caller, wallet_pair: WalletPair, api_bank: Bank
) -> None:
    def counted() -> dict[str, int]:
        states: dict[str, int] = overview(admin)["transfers"]["states"]
        return states

    query = "SELECT count(*) FROM outcomes WHERE state = 'committed'"
    with api_bank.engine.connect() as connection:
        before: int = connection.execute(text(query)).scalar_one()
    assert client.submit(wallet_pair.transfer("1.00")).status_code == 202
    eventually(lambda: counted()["accepted"] >= 1)
    found = overview(admin)["transfers"]["oldest_unfinished"]
    assert found["state"] in ("accepted", "reserved", "deducted", "credited")
    api_bank.settle()
    eventually(lambda: counted()["committed"] == before + 1)
    assert overview(admin)["transfers"]["settled_last_minute"] >= 1


def test_it_shows_the_last_run_of_each_scan(admin: Caller, cache_url: str) -> None:
    JobRuns(cache_url, key_prefix=KEY_PREFIX).record("recovery", ok=False, result="interrupted")

    def recovery() -> dict[str, Any]:
        [found] = [scan for scan in overview(admin)["scans"] if scan["name"] == "recovery"]
        return dict(found)

    eventually(lambda: recovery()["result"] == "interrupted")
    assert recovery()["ok"] is False
    assert recovery()["at"] <= overview(admin)["at"]


def test_it_shows_what_is_waiting(admin: Caller) -> None:
    waiting = {queue["name"]: queue["waiting"] for queue in overview(admin)["queues"]}
    assert set(waiting) == {
        *("money.advance", "money.reserve", "scans", "watch", "intake", "set aside")
    }
    assert all(count >= 0 for count in waiting.values())
