"""Database outages: transfers are still accepted, and none is lost."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus

import psycopg2
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from ledger.clients import create_client
from ledger.postgres.database import transaction
from testing.commit_gate import gate_before_commit_of
from testing.http_client import Caller
from testing.installation import Installation
from testing.servers.databases import as_owner, owner_engine
from testing.worker_processes import CeleryProcess, eventually

BUFFERED_WITHIN_S = 20.0
"""Generous: until the breaker is open, a request may wait for time-outs."""

pytestmark = pytest.mark.chaos


def buffered(installation: Installation, count: int, amount: str = "1.00") -> list[str]:
    """Submit transfers that must all be buffered. Returns: their ids."""
    ids = []
    for _ in range(count):
        answer = installation.client.submit(installation.body(amount))
        assert (answer.status_code, answer.json()["state"]) == (202, "buffered"), answer.text
        ids.append(answer.json()["id"])
    return ids


def test_a_transfer_is_taken_in_shown_and_committed_once_the_database_is_back(
    installation: Installation,
) -> None:
    key = str(uuid.uuid4())
    with installation.outage():
        first = installation.client.submit(
            installation.body("2.50", reference="rent"), key=key, prefer="wait=5"
        )
        assert first.status_code == 202
        assert first.headers["Location"] == f"/v1/transfers/{first.json()['id']}"
        assert int(first.headers["Retry-After"]) > 0
        assert "Preference-Applied" not in first.headers
        shown = installation.client.get(first.headers["Location"])
        assert shown.status_code == 200
        assert [entry["event"] for entry in shown.json()["timeline"]] == ["buffered"]
        assert {**shown.json(), "timeline": 0} == {**first.json(), "timeline": 0}
        assert (shown.json()["state"], shown.json()["amount"]) == ("buffered", "2.50")

        again = installation.client.submit(installation.body("2.50", reference="rent"), key=key)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json() == first.json()
        other = installation.client.submit(installation.body("2.51", reference="rent"), key=key)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    installation.settles([first.json()["id"]])
    timeline = installation.client.get(first.headers["Location"]).json()["timeline"]
    assert (timeline[0]["event"], timeline[-1]["event"]) == ("buffered", "committed")
    repeat = installation.client.submit(installation.body("2.50", reference="rent"), key=key)
    assert (repeat.status_code, repeat.json()["id"]) == (200, first.json()["id"])


def test_what_needs_the_database_says_so_at_once(installation: Installation) -> None:
    operator = admin_of(installation)
    with installation.outage():
        [id] = buffered(installation, 1)
        for method in ("GET", "POST"):
            answer = operator(method, "/v1/reconciliations")
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        for path in ("/v1/wallets", f"/v1/wallets/{installation.source.id}", "/v1/transfers"):
            answer = installation.client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        # Whether another client may see it depends on its wallets, which cannot be read now.
        assert installation.stranger.get(f"/v1/transfers/{id}").status_code == 503
        unknown = installation.client.get(f"/v1/transfers/{uuid.uuid4()}")
        assert unknown.status_code == 503
    # The other API process may notice a moment later that the database is back.
    eventually(lambda: installation.stranger.get(f"/v1/transfers/{id}").status_code == 404)
    installation.settles([id])


def test_numbers_in_metadata_keep_their_digits_through_the_buffer(
    installation: Installation,
) -> None:
    body = json.dumps(installation.body(metadata={"a": 0}))
    headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json"}
    sent = body.replace('{"a": 0}', '{"a":[1.10,0.1000000000000000000001]}')
    with installation.outage():
        buffered(installation, 1)  # from now on the breaker is open
        answer = installation.client("POST", "/v1/transfers", data=sent, headers=headers)
        assert (answer.status_code, answer.json()["state"]) == (202, "buffered")
        where = answer.headers["Location"]
        assert '"a":[1.10,0.1000000000000000000001]' in installation.client.get(where).text
    installation.settles([answer.json()["id"]])
    shown = json.loads(installation.client.get(where).text, parse_float=str)
    assert shown["metadata"] == {"a": ["1.10", "0.1000000000000000000001"]}
    again = installation.client("POST", "/v1/transfers", data=sent, headers=headers)
    assert again.headers["Idempotent-Replayed"] == "true"


def admin_of(installation: Installation) -> Caller:
    """Make an admin that the API has seen before the outage."""
    with transaction(installation.engine) as connection:
        _, key = create_client(connection, name="operator", scope="admin", rate_limit="none")
    operator = Caller(installation.client.port, key)
    assert operator.get("/v1/reconciliations").ok
    return operator


def test_clients_seen_before_are_known_during_an_outage_and_others_get_503(
    installation: Installation,
) -> None:
    with installation.outage(), installation.another_api("started-in-an-outage") as api:
        # The running API knows the client; the one that starts now reads it from the cache.
        [id] = buffered(installation, 1)
        answer = api.submit(installation.body())
        assert answer.status_code == 202, answer.text
        never_seen = api("GET", "/v1/wallets", headers={"Authorization": "Bearer tp_unknown"})
        assert (never_seen.status_code, never_seen.json()["code"]) == (503, "unavailable")
    installation.settles([id, answer.json()["id"]])


def test_what_is_wrong_ends_as_rejected_with_the_reason(installation: Installation) -> None:
    key = str(uuid.uuid4())
    wrong = installation.body(destination=str(uuid.uuid4()))
    with installation.outage():
        answer = installation.client.submit(wrong, key=key)
        assert answer.status_code == 202
        [poor] = buffered(installation, 1, amount="99999999.00")
        [right] = buffered(installation, 1)
        same = installation.client.submit(
            installation.body(destination=str(installation.source.id))
        )
        assert (same.status_code, same.json()["code"]) == (422, "same_wallet")
    installation.settles([right])
    installation.settles([answer.json()["id"], poor], "rejected")
    shown = installation.client.get(answer.headers["Location"]).json()
    assert shown["failure"]["code"] == "wallet_not_found"
    assert [entry["event"] for entry in shown["timeline"]] == ["buffered", "rejected"]
    again = installation.client.submit(wrong, key=key)
    assert (again.status_code, again.json()["code"]) == (422, "wallet_not_found")
    assert again.json()["transfer_id"] == shown["id"]
    assert installation.stranger.get(answer.headers["Location"]).status_code == 404
    assert installation.client.get(f"/v1/transfers/{poor}").json()["failure"]["code"] == (
        "insufficient_funds"
    )


def test_a_batch_is_buffered_item_by_item(installation: Installation) -> None:
    items = [installation.body() | {"idempotency_key": str(uuid.uuid4())} for _ in range(1500)]
    items[7] = installation.body("0") | {"idempotency_key": "x"}
    items[8] = installation.body(destination=str(installation.source.id)) | {"idempotency_key": "y"}
    with installation.outage():
        answer = installation.client.post("/v1/transfers/batch", {"transfers": items})
        assert answer.status_code == 202
        results = answer.json()["results"]
        assert [item.get("error", {}).get("code") for item in results[7:9]] == [
            "invalid_request",
            "same_wallet",
        ]
        good = results[:7] + results[9:]
        assert {item["state"] for item in good} == {"buffered"}
    installation.settles([item["id"] for item in good])


def test_a_database_that_stands_still_is_given_up_in_time(installation: Installation) -> None:
    with installation.database.frozen():
        begun_s = time.monotonic()
        ids = buffered(installation, 1)
        assert time.monotonic() - begun_s < BUFFERED_WITHIN_S
        eventually(installation.is_away)
        ids += buffered(installation, 20)
    installation.settles(ids)


def test_workers_pause_and_resume_and_nothing_is_rolled_back(installation: Installation) -> None:
    ids = [installation.client.submit(installation.body()).json()["id"] for _ in range(50)]
    with installation.outage():
        for worker in installation.workers.started[1:]:
            eventually(partial(is_paused, worker))
    installation.settles(ids)
    for worker in installation.workers.started:
        assert worker.is_alive
        assert "rolled_back" not in worker.log.read_text()


def is_paused(worker: CeleryProcess) -> bool:
    text = worker.log.read_text()
    return text.rfind("consuming_paused") > text.rfind("consuming_resumed")


def test_without_broker_and_database_nothing_is_accepted(installation: Installation) -> None:
    key = str(uuid.uuid4())
    with installation.outage():
        installation.broker.process.kill()
        try:
            answer = installation.client.submit(installation.body(), key=key)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        finally:
            installation.broker.process.start()
        answer = installation.client.submit(installation.body(), key=key)
        assert answer.json()["state"] == "buffered"
    installation.settles([answer.json()["id"]])


def test_a_buffer_that_is_full_says_so(installation: Installation) -> None:
    with installation.outage(), installation.another_api("small", INTAKE_BUFFER_LIMIT="5") as api:
        answers = [api.submit(installation.body()) for _ in range(3)]
        assert [each.status_code for each in answers] == [202] * 3, answers[0].text
        answer = api.submit(installation.body())
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert int(answer.headers["Retry-After"]) > 0
    installation.settles([each.json()["id"] for each in answers])


def test_what_is_buffered_survives_the_death_of_api_and_broker(installation: Installation) -> None:
    with installation.outage():
        ids = buffered(installation, 20)
        installation.broker.process.kill()
        installation.broker.process.start()
        assert installation.state(ids[0]) == "buffered"
    installation.settles(ids)


@pytest.mark.parametrize("commits", [False, True])
def test_a_drain_that_dies_in_its_commit_is_repeated(
    installation: Installation, *, commits: bool
) -> None:
    scanning = installation.scanning_worker()
    with gate_before_commit_of(installation.engine, "accept") as gate:
        ids = installation.buffer_directly(20)
        eventually(gate.waiting)
        scanning.kill_group()
        if commits:
            gate.open()
            eventually(lambda: installation.bank.states(ids) == {"accepted"})
        else:
            gate.cut_off()
            assert installation.bank.states(ids) == {"unknown"}
    # The broker has to notice first that their holder is gone.
    eventually(lambda: installation.buffer.count() == len(ids))
    installation.scanning_worker()
    installation.settles([str(id) for id in ids])


def test_a_database_that_dies_under_a_drain_leaves_nothing_behind(
    installation: Installation,
) -> None:
    lost = (
        OperationalError,
        psycopg2.OperationalError,
    )  # the connections of the gate break as well
    with suppress(*lost), gate_before_commit_of(installation.engine, "accept") as gate:
        ids = installation.buffer_directly(20)
        eventually(gate.waiting)
        installation.database.kill()
    installation.database.start()
    installation.engine.dispose()
    with as_owner(installation.engine) as connection:  # the gate could not do this itself
        connection.execute(text("DROP TRIGGER test_gate ON transfers"))
    installation.settles([str(id) for id in ids])


def test_what_cannot_be_replayed_holds_up_nobody(installation: Installation) -> None:
    """The database refuses one entry with an unforeseen error."""
    with refusing_amount(installation.engine, 66_600):
        [poisoned] = installation.buffer_directly(1, amount_minor=66_600)
        ids = installation.buffer_directly(30)
        installation.settles([str(id) for id in ids])
        installation.settles([str(poisoned)], "rejected")
    # The API may not have noticed yet that the database is back after the previous test.
    address = f"/v1/transfers/{poisoned}"
    eventually(lambda: installation.client.get(address).status_code == HTTPStatus.OK)
    assert installation.client.get(address).json()["failure"]["code"] == "refused"


@contextmanager
def refusing_amount(engine: Engine, amount: int) -> Iterator[None]:
    """Make every insert of a transfer of this amount fail with a real database error."""
    with (
        owner_engine(engine) as owner,
        owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
    ):
        change = f"ADD CONSTRAINT test_refusal CHECK (amount <> {amount})"
        connection.execute(text(f"ALTER TABLE transfers {change}"))
        try:
            yield
        finally:
            connection.execute(text("ALTER TABLE transfers DROP CONSTRAINT test_refusal"))
