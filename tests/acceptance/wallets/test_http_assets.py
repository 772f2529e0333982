"""Assets over HTTP: made once, never changed, and usable at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from sqlalchemy import text

from ledger.postgres.database import autocommit
from testing.bank import Bank
from testing.http_client import Caller
from testing.servers.databases import as_owner
from tests.acceptance.conftest import Unchanged
from tests.acceptance.http.contract import assert_invalid, assert_problem

pytestmark = pytest.mark.acceptance

NUMBERS = count()


def new_code() -> str:
    return f"T{next(NUMBERS):03}"


def transits(bank: Bank, code: str) -> int:
    with autocommit(bank.engine) as connection:
        query = text("SELECT count(*) FROM wallets WHERE kind = 'transit' AND asset = :code")
        return int(connection.execute(query, {"code": code}).scalar_one())


def listed(caller: Caller, limit: int) -> list[dict[str, Any]]:
    """Read the whole list, page by page."""
    found: list[dict[str, Any]] = []
    address = f"/v1/assets?limit={limit}"
    while True:
        page = caller.get(address).json()
        assert len(page["data"]) <= limit
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        address = f"/v1/assets?limit={limit}&cursor={page['next_cursor']}"


@pytest.mark.parametrize(("scale", "amount"), [(0, "7"), (18, "0.000000000000000001")])
def test_an_asset_can_be_used_as_soon_as_it_is_made(
    admin: Caller, client: Caller, api_bank: Bank, scale: int, amount: str
) -> None:
    code = new_code()
    answer = admin.post("/v1/assets", {"code": code, "scale": scale})
    assert (answer.status_code, answer.json()) == (201, {"code": code, "scale": scale})
    outside = admin.post("/v1/wallets", {"asset": code, "kind": "external"}).json()["id"]
    wallet = client.post("/v1/wallets", {"asset": code}).json()
    body = {"source": outside, "destination": wallet["id"], "asset": code, "amount": amount}
    assert admin.submit(body).status_code == 202
    api_bank.settle()
    assert client.get(f"/v1/wallets/{wallet['id']}").json()["balance"] == amount
    api_bank.audit()


def test_the_same_asset_again_is_200_and_another_scale_409(
    admin: Caller, api_bank: Bank, unchanged: Unchanged
) -> None:
    code = new_code()
    body = {"code": code, "scale": 3}
    assert admin.post("/v1/assets", body).status_code == 201
    with unchanged():
        again = admin.post("/v1/assets", body)
        other = admin.post("/v1/assets", body | {"scale": 4})
    assert (again.status_code, again.json()) == (200, body)
    assert_problem(other, 409, "invalid_state")
    assert "scale 3" in other.json()["detail"]
    assert transits(api_bank, code) == 1


def test_of_many_at_once_one_makes_it(admin: Caller, api_bank: Bank) -> None:
    code = new_code()
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda scale: admin.post("/v1/assets", {"code": code, "scale": scale}), [5] * 8
            )
        )
    assert sorted(each.status_code for each in answers) == [200] * 7 + [201]
    assert transits(api_bank, code) == 1


def test_a_missing_transit_wallet_comes_with_the_next_request(
    admin: Caller, api_bank: Bank
) -> None:
    code = new_code()
    with as_owner(api_bank.engine) as connection:
        connection.execute(text("INSERT INTO assets VALUES (:code, 2)"), {"code": code})
    assert admin.post("/v1/assets", {"code": code, "scale": 2}).status_code == 200
    assert transits(api_bank, code) == 1


def test_only_an_admin_makes_assets(client: Caller, unchanged: Unchanged) -> None:
    with unchanged():
        assert_problem(
            client.post("/v1/assets", {"code": new_code(), "scale": 2}), 403, "forbidden"
        )


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"code": "X"}, "/code"),
        ({"code": "X" * 13}, "/code"),
        ({"code": "usd"}, "/code"),
        ({"code": "ÄÖ"}, "/code"),
        ({"code": "US D"}, "/code"),
        ({"code": "USD\n"}, "/code"),
        ({"code": 12}, "/code"),
        ({"scale": -1}, "/scale"),
        ({"scale": 19}, "/scale"),
        ({"scale": True}, "/scale"),
        ({"scale": 2.0}, "/scale"),
        ({"scale": "2"}, "/scale"),
        ({"scale": None}, "/scale"),
        ({"name": "yen"}, "/name"),
    ],
    ids=str,
)
def test_what_is_no_asset_is_refused(
    admin: Caller, unchanged: Unchanged, change: dict[str, Any], pointer: str
) -> None:
    with unchanged():
        answer = admin.post("/v1/assets", {"code": "NEVER", "scale": 2} | change)
    assert_invalid(answer, pointer=pointer)


def test_everybody_lists_them_in_the_order_of_their_codes(client: Caller, admin: Caller) -> None:
    for _ in range(3):
        admin.post("/v1/assets", {"code": new_code(), "scale": 1})
    found = listed(client, 200)
    assert found == listed(client, 2)
    codes = [each["code"] for each in found]
    assert codes == sorted(set(codes))
    assert {"code": "ETH", "scale": 18} in found
