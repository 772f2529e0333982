"""The database is killed or stands still: transfers are taken in all the same, and none is lost."""

from __future__ import annotations

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
from testing.worker_processes import CeleryProcess, eventually

BUFFERED_WITHIN_S = 20.0
"""While the breaker is not open yet, a request may wait for time-outs; this is no measurement."""

pytestmark = pytest.mark.chaos


def buffered(town: Installation, count: int, amount: str = "1.00") -> list[str]:
    """Submit transfers, which must all be buffered. Returns: their ids."""
    ids = []
    for _ in range(count):
        answer = town.client.submit(town.body(amount))
        assert (answer.status_code, answer.json()["state"]) == (202, "buffered"), answer.text
        ids.append(answer.json()["id"])
    return ids


def test_a_transfer_is_taken_in_shown_and_committed_once_the_database_is_back(
    broken_town: Installation,
) -> None:
    town, key = broken_town, str(uuid.uuid4())
    with town.outage():
        first = town.client.submit(town.body("2.50", reference="rent"), key=key, prefer="wait=5")
        assert first.status_code == 202
        assert first.headers["Location"] == f"/v1/transfers/{first.json()['id']}"
        assert int(first.headers["Retry-After"]) > 0
        assert "Preference-Applied" not in first.headers
        shown = town.client.get(first.headers["Location"])
        assert shown.status_code == 200
        assert [entry["event"] for entry in shown.json()["timeline"]] == ["buffered"]
        assert {**shown.json(), "timeline": 0} == {**first.json(), "timeline": 0}
        assert (shown.json()["state"], shown.json()["amount"]) == ("buffered", "2.50")

        again = town.client.submit(town.body("2.50", reference="rent"), key=key)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json() == first.json()
        other = town.client.submit(town.body("2.51", reference="rent"), key=key)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    town.settles([first.json()["id"]])
    timeline = town.client.get(first.headers["Location"]).json()["timeline"]
    assert (timeline[0]["event"], timeline[-1]["event"]) == ("buffered", "committed")
    repeat = town.client.submit(town.body("2.50", reference="rent"), key=key)
    assert (repeat.status_code, repeat.json()["id"]) == (200, first.json()["id"])


def test_what_needs_the_database_says_so_at_once(broken_town: Installation) -> None:
    town, operator = broken_town, admin_of(broken_town)
    with town.outage():
        [id] = buffered(town, 1)
        for method in ("GET", "POST"):
            answer = operator(method, "/v1/reconciliations")
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        for path in ("/v1/wallets", f"/v1/wallets/{town.source.id}", "/v1/transfers"):
            answer = town.client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        # Who may see it beside its client depends on its wallets, which nobody can look up.
        assert town.stranger.get(f"/v1/transfers/{id}").status_code == 503
        unknown = town.client.get(f"/v1/transfers/{uuid.uuid4()}")
        assert unknown.status_code == 503
    # The other process of the API may notice a moment later that the database is back.
    eventually(lambda: town.stranger.get(f"/v1/transfers/{id}").status_code == 404)
    town.settles([id])


def admin_of(town: Installation) -> Caller:
    """An admin whom the API has seen before the outage."""
    with transaction(town.engine) as connection:
        _, key = create_client(connection, name="operator", scope="admin", rate_limit="none")
    operator = Caller(town.client.port, key)
    assert operator.get("/v1/reconciliations").ok
    return operator


def test_whoever_is_not_known_yet_is_not_turned_away_as_a_stranger(
    broken_town: Installation,
) -> None:
    town = broken_town
    with town.outage(), town.another_api("started-in-an-outage") as api:
        # Known to the API that went on, and from the cache to the one that starts now.
        [id] = buffered(town, 1)
        answer = api.submit(town.body())
        assert answer.status_code == 202, answer.text
        never_seen = api("GET", "/v1/wallets", headers={"Authorization": "Bearer tp_unknown"})
        assert (never_seen.status_code, never_seen.json()["code"]) == (503, "unavailable")
    town.settles([id, answer.json()["id"]])


def test_what_is_wrong_ends_as_rejected_with_the_reason(broken_town: Installation) -> None:
    town, key = broken_town, str(uuid.uuid4())
    wrong = town.body(destination=str(uuid.uuid4()))
    with town.outage():
        answer = town.client.submit(wrong, key=key)
        assert answer.status_code == 202
        [poor] = buffered(town, 1, amount="99999999.00")
        [right] = buffered(town, 1)
        same = town.client.submit(town.body(destination=str(town.source.id)))
        assert (same.status_code, same.json()["code"]) == (422, "same_wallet")
    town.settles([right])
    town.settles([answer.json()["id"], poor], "rejected")
    shown = town.client.get(answer.headers["Location"]).json()
    assert shown["failure"]["code"] == "wallet_not_found"
    assert [entry["event"] for entry in shown["timeline"]] == ["buffered", "rejected"]
    again = town.client.submit(wrong, key=key)
    assert (again.status_code, again.json()["code"]) == (422, "wallet_not_found")
    assert again.json()["transfer_id"] == shown["id"]
    assert town.stranger.get(answer.headers["Location"]).status_code == 404
    assert town.client.get(f"/v1/transfers/{poor}").json()["failure"]["code"] == (
        "insufficient_funds"
    )


def test_a_batch_is_buffered_item_by_item(broken_town: Installation) -> None:
    town = broken_town
    items = [town.body() | {"idempotency_key": str(uuid.uuid4())} for _ in range(1500)]
    items[7] = town.body("0") | {"idempotency_key": "x"}
    items[8] = town.body(destination=str(town.source.id)) | {"idempotency_key": "y"}
    with town.outage():
        answer = town.client.post("/v1/transfers/batch", {"transfers": items})
        assert answer.status_code == 202
        results = answer.json()["results"]
        assert [item.get("error", {}).get("code") for item in results[7:9]] == [
            "invalid_request",
            "same_wallet",
        ]
        good = results[:7] + results[9:]
        assert {item["state"] for item in good} == {"buffered"}
    town.settles([item["id"] for item in good])


def test_a_database_that_stands_still_is_given_up_in_time(broken_town: Installation) -> None:
    town = broken_town
    with town.database.frozen():
        begun_s = time.monotonic()
        ids = buffered(town, 1)
        assert time.monotonic() - begun_s < BUFFERED_WITHIN_S
        eventually(town.is_away)
        ids += buffered(town, 20)
    town.settles(ids)


def test_workers_pause_and_resume_and_nothing_is_rolled_back(broken_town: Installation) -> None:
    town = broken_town
    ids = [town.client.submit(town.body()).json()["id"] for _ in range(50)]
    with town.outage():
        for worker in town.workers.started[1:]:
            eventually(partial(is_paused, worker))
    town.settles(ids)
    for worker in town.workers.started:
        assert worker.is_alive
        assert "rolled_back" not in worker.log.read_text()


def is_paused(worker: CeleryProcess) -> bool:
    text = worker.log.read_text()
    return text.rfind("consuming_paused") > text.rfind("consuming_resumed")


def test_without_broker_and_database_nothing_is_accepted(broken_town: Installation) -> None:
    town, key = broken_town, str(uuid.uuid4())
    with town.outage():
        town.broker.process.kill()
        try:
            answer = town.client.submit(town.body(), key=key)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        finally:
            town.broker.process.start()
        answer = town.client.submit(town.body(), key=key)
        assert answer.json()["state"] == "buffered"
    town.settles([answer.json()["id"]])


def test_a_buffer_that_is_full_says_so(broken_town: Installation) -> None:
    town = broken_town
    with town.outage(), town.another_api("small", INTAKE_BUFFER_LIMIT="3") as api:
        answers = [api.submit(town.body()) for _ in range(3)]
        assert [each.status_code for each in answers] == [202] * 3, answers[0].text
        answer = api.submit(town.body())
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert int(answer.headers["Retry-After"]) > 0
    town.settles([each.json()["id"] for each in answers])


def test_what_is_buffered_survives_the_death_of_api_and_broker(broken_town: Installation) -> None:
    town = broken_town
    with town.outage():
        ids = buffered(town, 20)
        town.broker.process.kill()
        town.broker.process.start()
        assert town.state(ids[0]) == "buffered"
    town.settles(ids)


@pytest.mark.parametrize("commits", [False, True])
def test_a_drain_that_dies_in_its_commit_is_repeated(
    broken_town: Installation, *, commits: bool
) -> None:
    town = broken_town
    scanning = town.scanning_worker()
    with gate_before_commit_of(town.engine, "accept") as gate:
        ids = town.buffer_directly(20)
        eventually(gate.waiting)
        scanning.kill_group()
        if commits:
            gate.open()
            eventually(lambda: town.bank.states(ids) == {"accepted"})
        else:
            gate.cut_off()
            assert town.bank.states(ids) == {"unknown"}
    assert town.buffer.count() == len(ids)
    town.scanning_worker()
    town.settles([str(id) for id in ids])


def test_a_database_that_dies_under_a_drain_leaves_nothing_behind(
    broken_town: Installation,
) -> None:
    town = broken_town
    lost = (OperationalError, psycopg2.OperationalError)  # the gate's own connections break, too
    with suppress(*lost), gate_before_commit_of(town.engine, "accept") as gate:
        ids = town.buffer_directly(20)
        eventually(gate.waiting)
        town.database.kill()
    town.database.start()
    town.engine.dispose()
    with transaction(town.engine) as connection:  # which the gate could not do any more
        connection.execute(text("DROP TRIGGER test_gate ON transfers"))
    town.settles([str(id) for id in ids])


def test_what_cannot_be_replayed_holds_up_nobody(broken_town: Installation) -> None:
    """One that the database refuses for a reason that nobody foresaw, and one from the future."""
    town = broken_town
    with refusing_amount(town.engine, 66_600):
        [poisoned] = town.buffer_directly(1, amount_minor=66_600)
        ids = town.buffer_directly(30)
        town.settles([str(id) for id in ids])
        town.settles([str(poisoned)], "rejected")
    # The API may not have noticed yet that the database of the test before is back.
    address = f"/v1/transfers/{poisoned}"
    eventually(lambda: town.client.get(address).status_code == HTTPStatus.OK)
    assert town.client.get(address).json()["failure"]["code"] == "refused"


@contextmanager
def refusing_amount(engine: Engine, amount: int) -> Iterator[None]:
    """A real database error for every transfer of this amount."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        change = f"ADD CONSTRAINT test_refusal CHECK (amount <> {amount})"
        connection.execute(text(f"ALTER TABLE transfers {change}"))
        try:
            yield
        finally:
            connection.execute(text("ALTER TABLE transfers DROP CONSTRAINT test_refusal"))
