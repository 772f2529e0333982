"""Two tenants: on every route of the OpenAPI document a client finds nothing of another one.

The cases are made from the document, so a new route cannot be forgotten: one with an id that is
not in OBJECTS fails until the id of an object of the other client is given here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from api.openapi.document import build_document
from testing.bank import Bank
from testing.http_client import Caller
from tests.acceptance.conftest import Unchanged
from tests.acceptance.http.contract import assert_problem

pytestmark = pytest.mark.acceptance

DOCUMENT = build_document()
OF_EVERYBODY = {"symbol", "reconciliation_id"}
"""Parameters of objects that belong to no client."""


@dataclass(frozen=True)
class Tenant:
    """A client, and the ids of what it has, by the name that routes and bodies give them."""

    caller: Caller
    objects: dict[str, str]


@dataclass(frozen=True)
class Case:
    """One operation of the document."""

    method: str
    path: str
    described: dict[str, Any]

    @property
    def is_for_admins(self) -> bool:
        return "(admin)" in self.described["summary"]

    def parameters(self, place: str) -> list[dict[str, Any]]:
        return [each for each in self.described["parameters"] if each.get("in") == place]

    @property
    def ids(self) -> list[str]:
        return [each["name"] for each in self.parameters("path")]

    @property
    def body(self) -> dict[str, Any] | None:
        content = self.described.get("requestBody", {}).get("content", {})
        example: dict[str, Any] | None = content.get("application/json", {}).get("example")
        return example

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def cases() -> Iterator[Case]:
    for path, methods in DOCUMENT["paths"].items():
        for method, described in methods.items():
            if path.startswith("/v1/") and described.get("security") != []:
                yield Case(method.upper(), path, described)


CASES = list(cases())
WITH_IDS = [case for case in CASES if set(case.ids) - OF_EVERYBODY]


def send(case: Case, caller: Caller, ids: dict[str, str], body: Any, query: str = "") -> Any:
    given = query.partition("=")[0]
    required = [each["name"] for each in case.parameters("query") if each["required"]]
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    words = "&".join([query, *(f"{name}={now}" for name in required if name != given)]).strip("&")
    address = f"{case.path.format(**ids, symbol='BTCUSDT')}?{words}".removesuffix("?")
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    return caller(case.method, address, json=body, headers=headers)


@pytest.fixture(scope="module")
def tenants(new_caller: Any, api_bank: Bank) -> tuple[Tenant, Tenant]:
    return tenant(new_caller("client"), api_bank), tenant(new_caller("client"), api_bank)


def tenant(caller: Caller, bank: Bank) -> Tenant:
    me = caller.get("/v1/me").json()
    source, destination = (
        caller.post("/v1/wallets", {"asset": "USD"}).json()["id"] for _ in range(2)
    )
    outside = bank.wallet(kind="external", owner=bank.admin)
    bank.accept(
        bank.request(outside, uuid.UUID(source), 100_00, client=bank.admin),
    )
    bank.settle()
    body = {"source": source, "destination": destination, "asset": "USD", "amount": "1.00"}
    transfer = caller.submit(body).json()["id"]
    bank.settle()
    return Tenant(
        caller,
        {
            "client_id": me["client"]["id"],
            "key_id": me["key"]["id"],
            "wallet_id": source,
            "transfer_id": transfer,
            "source": source,
            "destination": destination,
            "wallet": source,
            "owner": me["client"]["id"],
        },
    )


@pytest.mark.parametrize("case", WITH_IDS, ids=str)
def test_what_belongs_to_another_client_does_not_exist(
    case: Case, tenants: tuple[Tenant, Tenant], unchanged: Unchanged
) -> None:
    owner, stranger = tenants
    unknown = set(case.ids) - set(owner.objects)
    assert not unknown, f"say in this test what {unknown} is the id of"
    with unchanged():
        for whose in product((owner, stranger), repeat=len(case.ids)):
            if all(each is stranger for each in whose):
                continue
            ids = {name: each.objects[name] for name, each in zip(case.ids, whose, strict=True)}
            answer = send(case, stranger.caller, ids, case.body)
            if case.is_for_admins:
                assert_problem(answer, 403, "forbidden")
            else:
                assert_problem(answer, 404, "not_found")
    assert owner.caller.get("/v1/me").status_code == 200


@pytest.mark.parametrize("case", [case for case in CASES if case.is_for_admins], ids=str)
def test_what_is_for_admins_is_forbidden_to_clients(
    case: Case, tenants: tuple[Tenant, Tenant], unchanged: Unchanged
) -> None:
    _, stranger = tenants
    ids = dict.fromkeys(case.ids, str(uuid.uuid4())) | {
        name: stranger.objects[name] for name in case.ids if name in stranger.objects
    }
    with unchanged():
        assert_problem(send(case, stranger.caller, ids, case.body), 403, "forbidden")


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.method == "GET" and not case.ids], ids=str
)
def test_what_is_listed_has_nothing_of_another_client(
    case: Case, tenants: tuple[Tenant, Tenant]
) -> None:
    owner, stranger = tenants
    filters = [
        each["name"]
        for each in case.parameters("query")
        if "uuid" in (each["schema"].get("format"), each["schema"].get("items", {}).get("format"))
    ]
    unknown = set(filters) - set(owner.objects)
    assert not unknown, f"say in this test what {unknown} is the id of"
    for query in ("", *(f"{name}={owner.objects[name]}" for name in filters)):
        answer = send(case, stranger.caller, {}, None, query)
        asked = query.partition("=")[2]
        shown = [id for id in owner.objects.values() if id != asked and id in answer.text]
        assert not shown
        if asked and answer.status_code == 200:
            assert answer.json()["data"] == []


def fields_with_ids(case: Case) -> list[str]:
    content = case.described.get("requestBody", {}).get("content", {})
    name = content.get("application/json", {}).get("schema", {}).get("$ref", "").split("/")[-1]
    if not name:
        return []
    schema = DOCUMENT["components"]["schemas"][name]
    return [
        field
        for field, described in schema["properties"].items()
        for each in (described, *described.get("anyOf", ()))
        if each.get("format") == "uuid"
    ]


WITH_IDS_IN_BODY = [case for case in CASES if fields_with_ids(case) and not case.is_for_admins]


@pytest.mark.parametrize("case", WITH_IDS_IN_BODY, ids=str)
def test_an_id_of_another_client_in_a_body_changes_nothing(
    case: Case, tenants: tuple[Tenant, Tenant], unchanged: Unchanged
) -> None:
    owner, stranger = tenants
    fields = fields_with_ids(case)
    unknown = set(fields) - set(owner.objects)
    assert not unknown, f"say in this test what {unknown} is the id of"
    body = {**(case.body or {}), **{field: owner.objects[field] for field in fields}}
    ids = {name: stranger.objects[name] for name in case.ids}
    with unchanged():
        answer = send(case, stranger.caller, ids, body)
        assert 400 <= answer.status_code < 500, answer.text


def test_the_items_of_a_batch_reach_nothing_of_another_client(
    tenants: tuple[Tenant, Tenant], unchanged: Unchanged
) -> None:
    owner, stranger = tenants
    item = {
        "source": owner.objects["source"],
        "destination": stranger.objects["destination"],
        "asset": "USD",
        "amount": "1.00",
        "idempotency_key": str(uuid.uuid4()),
    }
    with unchanged():
        answer = stranger.caller.post("/v1/transfers/batch", {"transfers": [item]})
        [result] = answer.json()["results"]
    assert result["error"]["code"] == "wallet_not_found"


def test_the_document_has_cases_of_each_kind() -> None:
    assert len(WITH_IDS) >= 14
    assert WITH_IDS_IN_BODY
    assert all(
        case.is_for_admins
        for case in CASES
        if set(case.ids) & OF_EVERYBODY == {"reconciliation_id"}
    )
