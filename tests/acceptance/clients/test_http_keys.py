"""API keys over HTTP: a client makes, lists and deletes its own."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from testing.http_client import Caller
from testing.worker_processes import eventually
from tests.acceptance.conftest import Unchanged, WalletPair
from tests.acceptance.http.contract import TIME, assert_invalid, assert_problem

pytestmark = pytest.mark.acceptance

SHOWN = ["id", "name", "scope", "prefix", "created_at", "expires_at", "last_used_on"]


@pytest.fixture
def owner(new_caller: Callable[[str], Caller]) -> Caller:
    return new_caller("client")


def keys_of(caller: Caller) -> str:
    return f"/v1/clients/{caller.get('/v1/me').json()['client']['id']}/keys"


def make(caller: Caller, **body: object) -> tuple[dict[str, Any], Caller]:
    answer = caller.post(keys_of(caller), body)
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created, Caller(caller.port, created["api_key"])


def in_future(**by: float) -> str:
    return (datetime.now(UTC) + timedelta(**by)).isoformat()


def test_a_key_is_made_shown_once_and_works(owner: Caller) -> None:
    created, caller = make(owner, name="reports")
    assert list(created) == [*SHOWN, "api_key"]
    assert (created["name"], created["scope"], created["expires_at"]) == ("reports", "write", None)
    assert created["api_key"].startswith(created["prefix"])
    assert re.fullmatch(TIME, created["created_at"])
    listed = owner.get(keys_of(owner))
    assert [list(each) for each in listed.json()["data"]] == [SHOWN, SHOWN]
    assert listed.json()["data"][1] == {name: created[name] for name in SHOWN}
    assert created["api_key"] not in listed.text
    me = caller.get("/v1/me").json()
    assert list(me) == ["client", "key"]
    used = {name: created[name] for name in ("id", "name", "scope", "expires_at")}
    assert me["key"] == used
    assert me["client"] == owner.get("/v1/me").json()["client"]


def test_a_key_with_the_scope_read_changes_nothing(
    owner: Caller, wallet_pair: WalletPair, unchanged: Unchanged
) -> None:
    keys = keys_of(owner)
    created, reader = make(owner, scope="read")
    assert reader.get("/v1/wallets").status_code == 200
    assert reader.get(keys).status_code == 200
    with unchanged():
        for method, path, body in (
            ("POST", "/v1/transfers", wallet_pair.transfer()),
            ("POST", "/v1/transfers/batch", {"transfers": [{}]}),
            ("POST", "/v1/wallets", {"asset": "USD"}),
            ("POST", keys, {"scope": "read"}),
            ("DELETE", f"{keys}/{created['id']}", None),
            ("PATCH", f"/v1/wallets/{wallet_pair.source.id}", {}),
            ("POST", "/v1/nowhere", {}),
        ):
            answer = reader(method, path, json=body, headers={"Idempotency-Key": "k"})
            assert_problem(answer, 403, "forbidden")
    assert reader.get("/v1/me").status_code == 200


def test_an_admins_key_with_the_scope_read_sees_all_and_changes_nothing(
    admin: Caller, wallet_pair: WalletPair
) -> None:
    _, reader = make(admin, scope="read")
    address = f"/v1/wallets/{wallet_pair.source.id}"
    assert reader.get(address).status_code == 200
    assert_problem(reader.post(f"{address}/freeze"), 403, "forbidden")
    assert_problem(reader.post("/v1/clients", {"name": "x", "scope": "admin"}), 403, "forbidden")


def test_a_deleted_key_is_refused_by_all_processes_within_ten_seconds(owner: Caller) -> None:
    keys = keys_of(owner)
    created, _ = make(owner)
    callers = [Caller(owner.port, created["api_key"]) for _ in range(8)]
    assert {each.get("/v1/me").status_code for each in callers} == {200}
    for _ in range(2):
        deleted = owner("DELETE", f"{keys}/{created['id']}")
        assert (deleted.status_code, deleted.content) == (204, b"")
    eventually(lambda: {each.get("/v1/me").status_code for each in callers} == {401}, within_s=10)
    assert created["id"] not in owner.get(keys).text


def test_a_key_that_expires_is_refused_from_that_moment_on(owner: Caller) -> None:
    created, caller = make(owner, expires_at=in_future(seconds=3))
    assert caller.get("/v1/me").json()["key"]["expires_at"] == created["expires_at"]
    expires_at = datetime.fromisoformat(created["expires_at"])
    eventually(lambda: caller.get("/v1/me").status_code == 401, within_s=10)
    assert datetime.now(UTC) - expires_at < timedelta(seconds=2)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scope": "admin"}, "/scope"),
        ({"name": ""}, "/name"),
        ({"expires_at": "tomorrow"}, "/expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"id": "x"}, "/id"),
    ],
)
def test_a_key_that_cannot_be_made_is_refused_with_the_reason(
    owner: Caller, body: dict[str, str], pointer: str
) -> None:
    assert_invalid(owner.post(keys_of(owner), body), pointer=pointer)


def test_an_eleventh_key_is_refused_until_one_is_deleted(owner: Caller) -> None:
    keys = keys_of(owner)
    made = [make(owner)[0]["id"] for _ in range(9)]
    assert_problem(owner.post(keys, {}), 409, "invalid_state")
    owner("DELETE", f"{keys}/{made[0]}")
    make(owner)


def test_the_keys_of_another_client_do_not_exist(owner: Caller, stranger: Caller) -> None:
    keys = keys_of(owner)
    created, _ = make(owner)
    for address in (keys, f"/v1/clients/{uuid.uuid4()}/keys"):
        assert_problem(stranger.get(address), 404, "not_found")
        assert_problem(stranger.post(address, {}), 404, "not_found")
        assert_problem(stranger("DELETE", f"{address}/{created['id']}"), 404, "not_found")
    own = keys_of(stranger)
    for key_id in (created["id"], uuid.uuid4()):
        assert_problem(stranger("DELETE", f"{own}/{key_id}"), 404, "not_found")


def test_an_admin_manages_the_keys_of_every_client(admin: Caller, owner: Caller) -> None:
    keys = keys_of(owner)
    created = admin.post(keys, {"scope": "read"}).json()
    client = Caller(admin.port, created["api_key"])
    assert client.get("/v1/me").json()["client"] == owner.get("/v1/me").json()["client"]
    assert admin("DELETE", f"{keys}/{created['id']}").status_code == 204


def test_the_last_day_of_use_is_written_within_seconds(owner: Caller) -> None:
    keys = keys_of(owner)
    created, caller = make(owner)
    assert created["last_used_on"] is None
    caller.get("/v1/wallets")

    def last_used_on() -> str | None:
        [key] = [each for each in owner.get(keys).json()["data"] if each["id"] == created["id"]]
        used_on: str | None = key["last_used_on"]
        return used_on

    eventually(lambda: last_used_on() == f"{datetime.now(UTC):%Y-%m-%d}", within_s=10)
