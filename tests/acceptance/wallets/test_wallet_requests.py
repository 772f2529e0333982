"""Wallet requests over HTTP: idempotency keys, ids of the owner's own, and changes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from testing.http_client import Caller
from tests.acceptance.conftest import Unchanged
from tests.acceptance.http.contract import WALLET_FIELDS, assert_invalid, assert_problem

pytestmark = pytest.mark.acceptance

BODY: dict[str, Any] = {"asset": "USD", "name": "Alice", "metadata": {"b": 1, "a": [2]}}
Make = Callable[[str], Caller]


def new_key() -> str:
    return str(uuid.uuid4())


def make(caller: Caller, body: dict[str, Any], key: str) -> Any:
    return caller.post("/v1/wallets", body, **{"Idempotency-Key": key})


def count(caller: Caller) -> int:
    return len(caller.get("/v1/wallets?limit=200").json()["data"])


def test_a_repeat_with_the_same_key_finds_the_wallet_that_was_made(new_caller: Make) -> None:
    caller, key = new_caller("client"), new_key()
    first = make(caller, BODY, key)
    assert first.status_code == 201
    assert "Idempotent-Replayed" not in first.headers
    same = {name: BODY[name] for name in reversed(BODY)} | {"kind": "customer"}
    repeat = make(caller, same, key)
    assert repeat.status_code == 200
    assert repeat.headers["Idempotent-Replayed"] == "true"
    assert repeat.headers["Location"] == first.headers["Location"]
    assert repeat.json() == first.json()
    assert count(caller) == 1


def test_a_repeat_shows_the_wallet_as_it_is_now(new_caller: Make, admin: Caller) -> None:
    caller, key = new_caller("client"), new_key()
    wallet_id = make(caller, BODY, key).json()["id"]
    admin.post(f"/v1/wallets/{wallet_id}/freeze")
    assert make(caller, BODY, key).json()["status"] == "frozen"


@pytest.mark.parametrize(
    "change", [{"asset": "EUR"}, {"name": "Bob"}, {"metadata": {}}, {"external_id": "other"}]
)
def test_the_same_key_with_other_content_is_refused(
    client: Caller, unchanged: Unchanged, change: dict[str, Any]
) -> None:
    key = new_key()
    assert make(client, BODY, key).status_code == 201
    with unchanged():
        assert_problem(make(client, BODY | change, key), 422, "idempotency_key_reused")


def test_a_request_that_was_refused_leaves_its_key_free(client: Caller) -> None:
    key = new_key()
    assert_invalid(make(client, BODY | {"asset": "NONE"}, key), pointer="/asset")
    assert make(client, BODY, key).status_code == 201


def test_clients_do_not_see_each_others_keys(client: Caller, new_caller: Make) -> None:
    key = new_key()
    mine, theirs = (
        make(client, BODY, key),
        make(new_caller("client"), BODY | {"name": "Bob"}, key),
    )
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["id"] != theirs.json()["id"]


def test_many_requests_at_once_with_one_key_make_one_wallet(new_caller: Make) -> None:
    caller, key = new_caller("client"), new_key()

    def send(_: int) -> Any:
        return make(Caller(caller.port, caller.api_key), BODY, key)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(send, range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert count(caller) == 1


@pytest.mark.parametrize(("key", "code"), [("", "idempotency_key_missing"), ("x" * 256, None)])
def test_a_key_that_cannot_be_used_is_refused(
    client: Caller, unchanged: Unchanged, key: str, code: str | None
) -> None:
    with unchanged():
        assert_problem(make(client, BODY, key), 400, code or "invalid_request")


def test_without_a_key_every_request_makes_another_wallet(new_caller: Make) -> None:
    caller = new_caller("client")
    assert [caller.post("/v1/wallets", BODY).status_code for _ in range(2)] == [201, 201]
    assert count(caller) == 2


def test_a_wallet_is_found_by_the_owners_own_id(
    new_caller: Make, stranger: Caller, admin: Caller
) -> None:
    caller, external_id = new_caller("client"), f"account {new_key()}"
    caller.post("/v1/wallets", {"asset": "USD"})
    made = caller.post("/v1/wallets", {"asset": "USD", "external_id": external_id}).json()
    assert made["external_id"] == external_id
    path = f"/v1/wallets?external_id={external_id}"
    assert caller.get(path).json() == {"data": [made], "next_cursor": None}
    assert admin.get(path).json()["data"] == [made]
    assert stranger.get(path).json()["data"] == []


def test_an_external_id_is_used_once_by_an_owner(
    client: Caller, new_caller: Make, admin: Caller, unchanged: Unchanged
) -> None:
    body = {"asset": "USD", "external_id": new_key()}
    wallet = client.post("/v1/wallets", body).json()
    with unchanged():
        for again in (
            client.post("/v1/wallets", body),
            client.post("/v1/wallets", body | {"asset": "EUR"}),
            make(client, body, new_key()),
            admin.post("/v1/wallets", body | {"owner": wallet["owner"]}),
        ):
            problem = assert_problem(again, 409, "invalid_state")
            assert "external_id" in problem["detail"]
    assert new_caller("client").post("/v1/wallets", body).status_code == 201


def test_many_requests_at_once_with_one_external_id_make_one_wallet(new_caller: Make) -> None:
    caller, body = new_caller("client"), {"asset": "USD", "external_id": "only-one"}

    def send(_: int) -> int:
        return Caller(caller.port, caller.api_key).post("/v1/wallets", body).status_code

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(send, range(16))) == [201] + [409] * 15
    assert count(caller) == 1


@pytest.mark.parametrize("value", ["", " x", "x ", "x" * 256, "a\tb", 7, ["x"]])
def test_an_external_id_that_cannot_be_used_is_refused(
    client: Caller, unchanged: Unchanged, value: Any
) -> None:
    with unchanged():
        refused = client.post("/v1/wallets", {"asset": "USD", "external_id": value})
    assert_invalid(refused, pointer="/external_id")


def test_wallets_are_filtered(new_caller: Make, admin: Caller) -> None:
    caller = new_caller("client")
    usd, eur = (caller.post("/v1/wallets", {"asset": it}).json() for it in ("USD", "EUR"))
    house = admin.post("/v1/wallets", {"asset": "EUR", "kind": "house", "owner": eur["owner"]})
    admin.post(f"/v1/wallets/{usd['id']}/freeze")

    def found(query: str) -> list[str]:
        return [wallet["id"] for wallet in caller.get(f"/v1/wallets?{query}").json()["data"]]

    assert found("asset=EUR") == [eur["id"], house.json()["id"]]
    assert found("status=frozen") == [usd["id"]]
    assert found("kind=house&asset=EUR&status=active") == [house.json()["id"]]
    page = caller.get("/v1/wallets?asset=EUR&limit=1").json()
    assert_problem(
        caller.get(f"/v1/wallets?asset=USD&cursor={page['next_cursor']}"), 400, "invalid_request"
    )
    for wrong in ("status=gone", "kind=other", "external_id=", "name=x"):
        assert_problem(caller.get(f"/v1/wallets?{wrong}"), 400, "invalid_request")


def test_a_wallet_gets_another_name_and_other_metadata(client: Caller) -> None:
    wallet = client.post("/v1/wallets", BODY).json()
    path = f"/v1/wallets/{wallet['id']}"

    def change(**fields: Any) -> Any:
        answer = client("PATCH", path, json=fields)
        assert answer.status_code == 200
        assert answer.json() == client.get(path).json()
        assert list(answer.json()) == WALLET_FIELDS
        return answer.json()

    assert change() == wallet
    assert change(name="Bob") == wallet | {"name": "Bob"}
    assert change(metadata={"c": 3})["metadata"] == {"c": 3}
    assert change(name=None, metadata=None) == wallet | {"name": None, "metadata": {}}


@pytest.mark.parametrize(
    "change", [{"status": "closed"}, {"asset": "EUR"}, {"external_id": "x"}, {"owner": None}]
)
def test_nothing_else_of_a_wallet_can_be_changed(
    client: Caller, unchanged: Unchanged, change: dict[str, Any]
) -> None:
    wallet_id = client.post("/v1/wallets", BODY).json()["id"]
    with unchanged():
        refused = client("PATCH", f"/v1/wallets/{wallet_id}", json=change)
    assert_invalid(refused, pointer=f"/{next(iter(change))}")


def test_a_stranger_changes_nothing_of_a_wallet(
    client: Caller, stranger: Caller, unchanged: Unchanged
) -> None:
    wallet_id = client.post("/v1/wallets", BODY).json()["id"]
    with unchanged():
        refused = stranger("PATCH", f"/v1/wallets/{wallet_id}", json={"name": "Mallory"})
        assert_problem(refused, 404, "not_found")
