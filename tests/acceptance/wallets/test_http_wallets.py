"""Wallets and clients over HTTP: permissions and answers of each operation."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest

from testing.bank import Bank
from testing.http_client import Caller
from tests.acceptance.conftest import Unchanged, WalletPair
from tests.acceptance.http.contract import JSON, TIME, WALLET_FIELDS, assert_invalid, assert_problem

pytestmark = pytest.mark.acceptance

NIL = UUID(int=0)


def test_a_wallet_is_created_with_201_and_its_location(client: Caller) -> None:
    answer = client.post("/v1/wallets", {"asset": "ETH", "name": "Alice", "metadata": {"a": [1]}})
    wallet = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == JSON
    assert answer.headers["Location"] == f"/v1/wallets/{wallet['id']}"
    assert list(wallet) == WALLET_FIELDS
    assert wallet["balance"] == "0.000000000000000000"
    assert (wallet["kind"], wallet["status"], wallet["name"]) == ("customer", "active", "Alice")
    assert wallet["metadata"] == {"a": [1]}
    assert re.fullmatch(TIME, wallet["created_at"])
    assert client.get(answer.headers["Location"]).json() == wallet


@pytest.mark.parametrize("change", [{"kind": "external"}, {"kind": "house"}])
def test_only_an_admin_makes_other_kinds_of_wallets(
    client: Caller, admin: Caller, unchanged: Unchanged, change: dict[str, Any]
) -> None:
    with unchanged():
        refused = client.post("/v1/wallets", {"asset": "USD", **change})
    assert_problem(refused, 403, "forbidden")
    assert admin.post("/v1/wallets", {"asset": "USD", **change}).status_code == 201


def test_only_an_admin_makes_wallets_for_others(
    client: Caller, stranger: Caller, admin: Caller, unchanged: Unchanged
) -> None:
    owner = client.post("/v1/wallets", {"asset": "USD"}).json()["owner"]
    with unchanged():
        refused = stranger.post("/v1/wallets", {"asset": "USD", "owner": owner})
    assert_problem(refused, 403, "forbidden")
    made = admin.post("/v1/wallets", {"asset": "USD", "owner": owner})
    assert client.get(made.headers["Location"]).status_code == 200


def test_a_stranger_sees_nothing_of_a_wallet(
    client: Caller, stranger: Caller, wallet_pair: WalletPair
) -> None:
    path = f"/v1/wallets/{wallet_pair.source.id}"
    for part in ("", "/postings", "/balance?at=2026-01-01T00:00:00Z"):
        assert client.get(path + part).status_code == 200
        assert_problem(stranger.get(path + part), 404, "not_found")
    listed = stranger.get("/v1/wallets?limit=200").json()
    assert listed["next_cursor"] is None
    assert str(wallet_pair.source.owner_id) not in {each["owner"] for each in listed["data"]}


def test_wallets_are_listed_oldest_first_from_page_to_page(admin: Caller) -> None:
    made = admin.post("/v1/clients", {"name": "lister"}).json()
    lister = Caller(admin.port, made["api_key"])
    ids = [lister.post("/v1/wallets", {"asset": "USD"}).json()["id"] for _ in range(3)]
    first = lister.get("/v1/wallets?limit=2").json()
    second = lister.get(f"/v1/wallets?limit=2&cursor={first['next_cursor']}").json()
    assert [wallet["id"] for wallet in first["data"] + second["data"]] == ids
    assert second["next_cursor"] is None


def test_postings_are_signed_and_listed_newest_first(
    client: Caller, wallet_pair: WalletPair, api_bank: Bank
) -> None:
    for amount in ("1.00", "2.00"):
        client.submit(wallet_pair.transfer(amount))
        api_bank.settle()
    path = f"/v1/wallets/{wallet_pair.source.id}/postings?limit=2"
    page = client.get(path).json()
    assert [line["amount"] for line in page["data"]] == ["-2.00", "-1.00"]
    assert [line["balance_after"] for line in page["data"]] == ["97.00", "99.00"]
    assert [line["leg"] for line in page["data"]] == ["deduct", "deduct"]
    assert list(page["data"][0]) == [
        "transfer_id",
        "leg",
        "amount",
        "balance_after",
        "counterparty",
        "created_at",
    ]
    rest = client.get(f"{path}&cursor={page['next_cursor']}").json()
    assert [line["amount"] for line in rest["data"]] == ["100.00"]
    assert rest["next_cursor"] is None


def test_a_past_balance_is_shown(client: Caller, wallet_pair: WalletPair, api_bank: Bank) -> None:
    before = client.get(f"/v1/wallets/{wallet_pair.source.id}/postings").json()["data"][0][
        "created_at"
    ]
    client.submit(wallet_pair.transfer())
    api_bank.settle()
    now = client.get(f"/v1/wallets/{wallet_pair.source.id}/postings").json()["data"][0][
        "created_at"
    ]
    path = f"/v1/wallets/{wallet_pair.source.id}/balance?at="
    assert client.get(path + before).json() == {
        "wallet_id": str(wallet_pair.source.id),
        "asset": "USD",
        "at": before,
        "balance": "100.00",
    }
    assert client.get(path + now).json()["balance"] == "87.50"
    assert client.get(path + "1999-12-31T23:59:59%2B05:30").json() == {
        "wallet_id": str(wallet_pair.source.id),
        "asset": "USD",
        "at": "1999-12-31T18:29:59.000000Z",
        "balance": "0.00",
    }


def test_balances_of_several_wallets_are_shown_in_the_order_asked_for(
    client: Caller, stranger: Caller, admin: Caller, wallet_pair: WalletPair
) -> None:
    source, destination = str(wallet_pair.source.id), str(wallet_pair.destination.id)
    client.submit(wallet_pair.transfer())
    path = f"/v1/balances?wallet={destination}&wallet={source}"
    page = client.get(path).json()
    assert [list(each) for each in page["data"]] == [
        ["wallet_id", "asset", "balance", "reserved", "incoming", "available"]
    ] * 2
    assert [each["wallet_id"] for each in page["data"]] == [destination, source]
    assert [each["balance"] for each in page["data"]] == ["0.00", "100.00"]
    assert page["next_cursor"] is None
    assert admin.get(path).json() == page
    assert_problem(stranger.get(path), 404, "not_found")
    own = stranger.post("/v1/wallets", {"asset": "USD"}).json()["id"]
    assert_problem(stranger.get(f"/v1/balances?wallet={own}&wallet={source}"), 404, "not_found")


@pytest.mark.parametrize(
    "query", ["", "?wallet=1", "?wallet=" + f"{NIL}&wallet=" * 200 + str(NIL)], ids=len
)
def test_a_wrong_list_of_wallets_is_refused(client: Caller, query: str) -> None:
    assert_problem(client.get(f"/v1/balances{query}"), 400, "invalid_request")


def test_a_wallet_can_be_frozen_and_unfrozen_repeatedly(
    admin: Caller, wallet_pair: WalletPair
) -> None:
    path = f"/v1/wallets/{wallet_pair.source.id}"
    for action, status in (("freeze", "frozen"), ("unfreeze", "active")):
        for _ in range(2):
            answer = admin.post(f"{path}/{action}")
            assert (answer.status_code, answer.json()["status"]) == (200, status)
    assert admin.post(f"{path}/freeze", {}).status_code == 200  # an empty object is no body, too


def test_only_an_empty_wallet_is_closed(
    admin: Caller, wallet_pair: WalletPair, unchanged: Unchanged
) -> None:
    with unchanged():
        refused = admin.post(f"/v1/wallets/{wallet_pair.source.id}/close")
    assert_problem(refused, 409, "invalid_state")
    closed = admin.post(f"/v1/wallets/{wallet_pair.destination.id}/close")
    assert (closed.status_code, closed.json()["status"]) == (200, "closed")
    for action in ("freeze", "unfreeze"):
        refused = admin.post(f"/v1/wallets/{wallet_pair.destination.id}/{action}")
        assert_problem(refused, 409, "invalid_state")


@pytest.mark.parametrize("action", ["freeze", "unfreeze", "close"])
def test_only_an_admin_changes_what_a_wallet_may_do(
    client: Caller, admin: Caller, wallet_pair: WalletPair, unchanged: Unchanged, action: str
) -> None:
    nowhere = "/v1/wallets/00000000-0000-7000-8000-000000000000"
    with unchanged():
        own = client.post(f"/v1/wallets/{wallet_pair.destination.id}/{action}")
        missing = admin.post(f"{nowhere}/{action}")
        with_body = admin.post(f"/v1/wallets/{wallet_pair.destination.id}/{action}", {"why": "x"})
        with_query = admin.post(f"/v1/wallets/{wallet_pair.destination.id}/{action}?why=x")
    assert_problem(own, 403, "forbidden")
    assert_problem(missing, 404, "not_found")
    assert_invalid(with_body, pointer="/why")
    assert_invalid(with_query)


def test_a_client_gets_a_key_that_works(admin: Caller) -> None:
    limits = {"rate_limit": "1000/minute", "item_limit": "500/minute"}
    given = {"name": "shop", "scope": "client", **limits}
    answer = admin.post("/v1/clients", given)
    made = answer.json()
    assert answer.status_code == 201
    assert list(made) == ["id", *given, "status", "api_key"]
    assert made == given | {"status": "active", "id": made["id"], "api_key": made["api_key"]}
    shop = Caller(admin.port, made["api_key"])
    assert shop.post("/v1/wallets", {"asset": "USD"}).json()["owner"] == made["id"]


def test_only_an_admin_creates_clients(client: Caller, unchanged: Unchanged) -> None:
    with unchanged():
        answer = client.post("/v1/clients", {"name": "friend", "scope": "admin"})
    assert_problem(answer, 403, "forbidden")
