"""Cursors over HTTP: every list goes on from its own, with the same filters, and from no other.

The lists and their filters are those of the OpenAPI document, so that a new one is not forgotten.
"""

from __future__ import annotations

import base64
import itertools
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from sqlalchemy import Engine, text

from api.openapi.document import build_document
from ledger.postgres.database import transaction
from testing.bank import Bank
from testing.http_client import Caller
from tests.acceptance.conftest import WalletPair
from tests.acceptance.http.contract import assert_problem

pytestmark = pytest.mark.acceptance

PARAMETERS = {
    path: {each["name"]: each for each in methods["get"]["parameters"] if each.get("in") == "query"}
    for path, methods in build_document()["paths"].items()
    if "get" in methods
}
LISTS = [path for path, parameters in PARAMETERS.items() if "cursor" in parameters]
FILTERS = [
    (path, name) for path in LISTS for name in PARAMETERS[path] if name not in ("cursor", "limit")
]
OLDEST = "2020-01-31T12:00:00Z"


@pytest.fixture(scope="module", autouse=True)
def second_key(client: Caller, admin: Caller) -> None:
    """Make the client's list of keys two long, once for all tests: no client has many keys."""
    owner = client.get("/v1/me").json()["client"]["id"]
    made = admin.post(f"/v1/clients/{owner}/keys", {})
    assert made.status_code == 201, made.text


@pytest.fixture
def pair(
    client: Caller, admin: Caller, wallet_pair: WalletPair, api_bank: Bank, api_engine: Engine
) -> WalletPair:
    """A pair of wallets; each list has two objects or more, so that its first page ends early."""
    client.submit(wallet_pair.transfer())
    client.submit(wallet_pair.transfer())
    api_bank.settle()
    for _ in range(2):
        admin.post("/v1/reconciliations")
        with transaction(api_engine) as connection:
            connection.execute(
                text("""UPDATE reconciliations SET state = 'finished', finished_at = now()
                        WHERE state = 'running'""")
            )
    return wallet_pair


def read(caller: Caller, path: str, pair: WalletPair, **query: Any) -> requests.Response:
    filled = path.format(wallet_id=pair.source.id, client_id=pair.source.owner_id)
    return caller.get(f"{filled}?{urlencode(query)}")


def next_cursor(caller: Caller, path: str, pair: WalletPair, **query: Any) -> str:
    """Return the cursor after the first object of a list."""
    cursor = read(caller, path, pair, limit=1, **query).json()["next_cursor"]
    assert isinstance(cursor, str)
    return cursor


def value_of(path: str, name: str, pair: WalletPair) -> str:
    """Return a value that a filter accepts."""
    schema = PARAMETERS[path][name]["schema"]
    by_format = {"uuid": str(pair.source.id), "date-time": OLDEST}
    any_text = schema.get("const") or by_format.get(schema.get("format"), "USD")
    return str(schema["enum"][0] if "enum" in schema else any_text)


def assert_refused(answer: requests.Response, *, reason: str) -> None:
    detail = assert_problem(answer, 400, "invalid_request")["detail"]
    assert detail.startswith("cursor ")
    assert reason in detail


def test_the_lists_and_their_filters_are_found() -> None:
    assert set(LISTS) >= {
        "/v1/transfers",
        "/v1/wallets",
        "/v1/wallets/{wallet_id}/postings",
        "/v1/clients",
        "/v1/clients/{client_id}/keys",
        "/v1/reconciliations",
    }
    assert ("/v1/transfers", "created_after") in FILTERS


@pytest.mark.parametrize("path", LISTS)
def test_a_list_goes_on_from_its_own_cursor_with_another_limit(
    path: str, admin: Caller, pair: WalletPair
) -> None:
    both = read(admin, path, pair, limit=2).json()["data"]
    cursor = next_cursor(admin, path, pair)
    rest = read(admin, path, pair, limit=200, cursor=cursor).json()["data"]
    assert rest[0] == both[1]


@pytest.mark.parametrize(("path", "name"), FILTERS)
def test_a_cursor_made_without_a_filter_is_refused_with_it(
    path: str, name: str, admin: Caller, pair: WalletPair
) -> None:
    cursor = next_cursor(admin, path, pair)
    query = {name: value_of(path, name, pair)}
    assert read(admin, path, pair, **query).status_code == 200
    assert_refused(read(admin, path, pair, cursor=cursor, **query), reason="other filters")


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"wallet": "the other"},
        {"wallet": "the same", "state": "rejected"},
        {"state": "committed"},
        {"wallet": "the same", "state": "committed", "created_after": "2020-01-31T12:00:01Z"},
    ],
)
def test_a_cursor_is_refused_without_its_filters_and_with_others(
    others: dict[str, str], client: Caller, pair: WalletPair
) -> None:
    ids = {"the same": str(pair.source.id), "the other": str(pair.destination.id)}
    filters = {"wallet": ids["the same"], "state": "committed", "created_after": OLDEST}
    cursor = next_cursor(client, "/v1/transfers", pair, **filters)
    given = {name: ids.get(value, value) for name, value in others.items()}
    answer = read(client, "/v1/transfers", pair, cursor=cursor, **given)
    assert_refused(answer, reason="other filters")
    spelled = filters | {"created_after": "2020-01-31T14:00:00+02:00"}
    assert read(client, "/v1/transfers", pair, cursor=cursor, **spelled).status_code == 200


def test_a_cursor_of_another_wallet_is_refused(client: Caller, pair: WalletPair) -> None:
    path = "/v1/wallets/{wallet_id}/postings"
    cursor = next_cursor(client, path, pair)
    answer = client.get(f"/v1/wallets/{pair.destination.id}/postings?cursor={cursor}")
    assert_refused(answer, reason="another wallet")


@pytest.mark.parametrize("path", ["/v1/transfers", "/v1/wallets"])
def test_a_cursor_of_another_client_is_refused(
    path: str, client: Caller, stranger: Caller, admin: Caller, pair: WalletPair
) -> None:
    of_client, of_admin = next_cursor(client, path, pair), next_cursor(admin, path, pair)
    for caller, cursor in ((stranger, of_client), (admin, of_client), (client, of_admin)):
        assert_refused(read(caller, path, pair, cursor=cursor), reason="another wallet or client")


@pytest.mark.parametrize(("path", "other"), [*itertools.permutations(LISTS, 2)])
def test_a_cursor_of_another_list_is_refused(
    path: str, other: str, admin: Caller, pair: WalletPair
) -> None:
    cursor = next_cursor(admin, other, pair)
    assert_refused(read(admin, path, pair, cursor=cursor), reason="not a next_cursor")


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_of_the_first_version_is_refused(
    path: str, admin: Caller, pair: WalletPair
) -> None:
    kind = path.rpartition("/")[2]
    tie = "9" if kind == "postings" else str(pair.source.id)
    cursor = base64.urlsafe_b64encode(f"{kind}:1769860800123456:{tie}".encode()).decode()
    assert_refused(read(admin, path, pair, cursor=cursor.rstrip("=")), reason="an earlier version")
