"""Clients over HTTP: an admin makes, shows, disables and enables them."""

from __future__ import annotations

import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from testing.bank import Bank
from testing.http_client import Caller
from testing.worker_processes import eventually
from tests.acceptance.conftest import WalletPair
from tests.acceptance.http.contract import TIME, assert_invalid, assert_problem

pytestmark = pytest.mark.acceptance

CREATED = ["id", "name", "scope", "rate_limit", "item_limit", "status", "api_key"]
SHOWN = ["id", "name", "scope", "rate_limit", "item_limit", "status", "created_at"]

UNKNOWN = uuid.UUID(int=1)
"""The id of no client."""


def make(admin: Caller, **body: object) -> dict[str, str]:
    answer = admin.post("/v1/clients", {"name": "shop", "rate_limit": "none", **body})
    assert answer.status_code == 201, answer.text
    created: dict[str, str] = answer.json()
    assert answer.headers["Location"] == f"/v1/clients/{created['id']}"
    return created


def test_a_client_is_made_with_a_key_that_is_shown_once(admin: Caller) -> None:
    created = make(admin)
    assert list(created) == CREATED
    assert (created["scope"], created["status"]) == ("client", "active")
    api_key = created["api_key"]
    shown = admin.get(f"/v1/clients/{created['id']}")
    assert list(shown.json()) == SHOWN
    assert re.fullmatch(TIME, shown.json()["created_at"])
    for path in ("", f"/{created['id']}", f"/{created['id']}/keys"):
        assert api_key not in admin.get(f"/v1/clients{path}").text
    assert Caller(admin.port, api_key).get("/v1/wallets").status_code == 200


def test_clients_are_listed_page_by_page(admin: Caller) -> None:
    made = [make(admin)["id"] for _ in range(3)]
    found: list[str] = []
    cursor = ""
    while True:
        page = admin.get(f"/v1/clients?limit=2{cursor}").json()
        assert len(page["data"]) <= 2
        found += [each["id"] for each in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found[-3:] == made
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/clients"),
        ("GET", "/v1/clients/{own}"),
        ("GET", f"/v1/clients/{UNKNOWN}"),
        ("POST", "/v1/clients/{own}/disable"),
        ("POST", "/v1/clients/{own}/enable"),
        ("POST", f"/v1/clients/{UNKNOWN}/disable"),
    ],
)
def test_only_an_admin_sees_and_changes_clients(client: Caller, method: str, path: str) -> None:
    own = client.get("/v1/me").json()["client"]["id"]
    assert_problem(client(method, path.format(own=own)), 403, "forbidden")


def test_a_client_that_does_not_exist_is_not_found(admin: Caller) -> None:
    for path in ("", "/keys"):
        answer = admin.get(f"/v1/clients/{uuid.uuid4()}{path}")
        assert_problem(answer, 404, "not_found")
    for action in ("disable", "enable"):
        answer = admin.post(f"/v1/clients/{uuid.uuid4()}/{action}")
        assert_problem(answer, 404, "not_found")
    assert_invalid(admin.get("/v1/clients?limit=0"))


def test_a_disabled_client_is_refused_by_all_processes_within_ten_seconds(admin: Caller) -> None:
    created = make(admin)
    callers = [Caller(admin.port, created["api_key"]) for _ in range(8)]
    address = f"/v1/clients/{created['id']}"
    assert all(each.get("/v1/me").status_code == 200 for each in callers)
    for _ in range(2):
        answer = admin.post(f"{address}/disable")
        assert (answer.status_code, answer.json()["status"]) == (200, "disabled")
    eventually(lambda: {each.get("/v1/me").status_code for each in callers} == {401}, within_s=10)
    assert_problem(callers[0].get("/v1/me"), 401, "unauthenticated")
    assert_problem(callers[0].post("/v1/wallets", {"asset": "USD"}), 401, "unauthenticated")
    for _ in range(2):
        answer = admin.post(f"{address}/enable")
        assert (answer.status_code, answer.json()["status"]) == (200, "active")
    eventually(lambda: {each.get("/v1/me").status_code for each in callers} == {200}, within_s=10)


def test_the_transfers_of_a_disabled_client_that_are_under_way_finish(
    admin: Caller, api_bank: Bank, wallet_pair: WalletPair, client: Caller
) -> None:
    answer = client.submit(wallet_pair.transfer())
    assert answer.status_code == 202
    owner = client.get("/v1/me").json()["client"]["id"]
    admin.post(f"/v1/clients/{owner}/disable")
    api_bank.settle()
    transfer = admin.get(answer.headers["Location"]).json()
    admin.post(f"/v1/clients/{owner}/enable")
    eventually(lambda: client.get("/v1/me").status_code == 200, within_s=10)
    assert transfer["state"] == "committed"


def test_an_admin_with_a_key_that_expires_makes_no_admin_that_stays(admin: Caller) -> None:
    own = admin.get("/v1/me").json()["client"]["id"]
    body = {"expires_at": "2999-01-01T00:00:00Z"}
    guest_key = admin.post(f"/v1/clients/{own}/keys", body).json()["api_key"]
    guest = Caller(admin.port, guest_key)
    refused = guest.post("/v1/clients", {"name": "forever", "scope": "admin"})
    assert_problem(refused, 403, "forbidden")
    assert guest.post("/v1/clients", {"name": "shop"}).status_code == 201


def test_a_repeat_with_the_same_idempotency_key_finds_the_client_without_its_key(
    admin: Caller,
) -> None:
    key, body = {"Idempotency-Key": str(uuid.uuid4())}, {"name": "shop", "rate_limit": "5/minute"}
    first = admin.post("/v1/clients", body, **key)
    assert (first.status_code, "Idempotent-Replayed" in first.headers) == (201, False)
    repeat = admin.post("/v1/clients", body, **key)
    assert (repeat.status_code, repeat.headers["Idempotent-Replayed"]) == (200, "true")
    created = first.json()
    del created["api_key"]
    assert repeat.json() == created
    assert repeat.headers["Location"] == first.headers["Location"]
    for other in ({"name": "shop"}, {**body, "scope": "admin"}, {**body, "name": "Shop"}):
        answer = admin.post("/v1/clients", other, **key)
        assert_problem(answer, 422, "idempotency_key_reused")
    for wrong in ("", "x" * 256):
        answer = admin.post("/v1/clients", body, **{"Idempotency-Key": wrong})
        assert answer.status_code == 400
    assert admin.post("/v1/clients", body).status_code == 201


def test_of_many_requests_at_once_with_one_key_one_makes_the_client(admin: Caller) -> None:
    key, body = {"Idempotency-Key": str(uuid.uuid4())}, {"name": "shop"}

    def send(_: int) -> tuple[int, str, bool]:
        answer = Caller(admin.port, admin.api_key).post("/v1/clients", body, **key)
        return answer.status_code, answer.json()["id"], "api_key" in answer.json()

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(send, range(8)))
    assert sorted(status for status, _, _ in answers) == [200] * 7 + [201]
    assert len({client_id for _, client_id, _ in answers}) == 1
    assert sum(has_key for _, _, has_key in answers) == 1
