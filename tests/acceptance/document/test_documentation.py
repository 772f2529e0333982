"""Documentation over HTTP: served without outside files, and true to the real answers."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator

from testing.bank import Bank
from testing.http_client import Caller
from tests.acceptance.conftest import WalletPair

pytestmark = pytest.mark.acceptance


def test_the_page_loads_nothing_from_other_hosts(client: Caller) -> None:
    nobody = Caller(client.port)
    page = nobody.get("/docs")
    assert page.status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "//" not in page.text.replace("<!doctype", "")
    for asset in re.findall(r'(?:src|href)="(/docs/[^"]+)"', page.text):
        assert nobody.get(asset).status_code == 200


def test_real_answers_match_their_schemas(
    client: Caller, admin: Caller, wallet_pair: WalletPair, api_bank: Bank
) -> None:
    document = client.get("/openapi.json").json()
    submitted = client.submit(wallet_pair.transfer())
    api_bank.settle()
    wallet = f"/v1/wallets/{wallet_pair.source.id}"
    begun = admin.post("/v1/reconciliations")
    batch = {"transfers": [wallet_pair.transfer() | {"idempotency_key": "x"}, {}, 7]}
    answers = [
        ("post", "/v1/transfers", submitted),
        ("post", "/v1/transfers", client.submit(wallet_pair.transfer("999.00"))),
        ("post", "/v1/transfers", client.submit(wallet_pair.transfer(1))),
        ("post", "/v1/transfers/batch", client.post("/v1/transfers/batch", batch)),
        ("get", "/v1/transfers", client.get("/v1/transfers")),
        ("get", "/v1/transfers", client.get("/v1/transfers?order=recorded")),
        ("get", "/v1/transfers/{transfer_id}", client.get(submitted.headers["Location"])),
        ("post", "/v1/wallets", client.post("/v1/wallets", {"asset": "BTC"})),
        ("get", "/v1/wallets", admin.get("/v1/wallets")),
        ("get", "/v1/wallets/{wallet_id}", client.get(wallet)),
        ("patch", "/v1/wallets/{wallet_id}", client("PATCH", wallet, json={"name": "Alice"})),
        ("get", "/v1/wallets/{wallet_id}/postings", client.get(wallet + "/postings")),
        (
            "get",
            "/v1/wallets/{wallet_id}/balance",
            client.get(wallet + "/balance?at=2026-01-01T00:00:00Z"),
        ),
        ("post", "/v1/wallets/{wallet_id}/freeze", admin.post(wallet + "/freeze")),
        ("post", "/v1/wallets/{wallet_id}/unfreeze", admin.post(wallet + "/unfreeze")),
        ("post", "/v1/wallets/{wallet_id}/close", admin.post(wallet + "/close")),
        ("get", "/v1/balances", client.get(f"/v1/balances?wallet={wallet_pair.source.id}")),
        *answers_about_assets(admin, client),
        ("get", "/v1/prices", client.get("/v1/prices")),
        ("get", "/v1/prices/{symbol}", client.get("/v1/prices/BTCUSDT")),
        ("get", "/v1/prices/{symbol}", client.get("/v1/prices/NOUSDT")),
        *answers_about_clients(admin, client),
        ("get", "/v1/ops/overview", admin.get("/v1/ops/overview")),
        ("get", "/v1/ops/overview", client.get("/v1/ops/overview")),
        ("post", "/v1/reconciliations", begun),
        ("get", "/v1/reconciliations", admin.get("/v1/reconciliations")),
        (
            "get",
            "/v1/reconciliations/{reconciliation_id}",
            admin.get(begun.headers["Location"]),
        ),
        ("post", "/client-errors", client.post("/client-errors", {})),
        ("get", "/health", client.get("/health")),
        ("get", "/health/ready", client.get("/health/ready")),
        ("get", "/health/live", client.get("/health/live")),
    ]
    for method, path, answer in answers:
        assert_documented(document, method, path, answer)
    described = {
        (method, path) for path, methods in document["paths"].items() for method in methods
    }
    assert {(method, path) for method, path, _ in answers} == described


def answers_about_assets(admin: Caller, client: Caller) -> list[tuple[str, str, Any]]:
    """Return answers of every operation on assets."""
    made, repeated = (admin.post("/v1/assets", {"code": "DOC", "scale": 0}) for _ in "12")
    assert (made.status_code, repeated.status_code) == (201, 200)
    return [
        ("post", "/v1/assets", made),
        ("post", "/v1/assets", repeated),
        ("post", "/v1/assets", admin.post("/v1/assets", {"code": "DOC", "scale": 3})),
        ("get", "/v1/assets", client.get("/v1/assets")),
    ]


def answers_about_clients(admin: Caller, client: Caller) -> list[tuple[str, str, Any]]:
    """Return answers of every operation on clients and keys, made with a client of its own."""
    key = str(uuid.uuid4())
    given = {"name": "documented", "rate_limit": "none", "item_limit": "500/minute"}
    made, repeated = (admin.post("/v1/clients", given, **{"Idempotency-Key": key}) for _ in "12")
    own = f"/v1/clients/{made.json()['id']}"
    caller = Caller(admin.port, made.json()["api_key"])
    another = caller.post(f"{own}/keys", {"name": "till", "expires_at": "2099-01-01T00:00:00Z"})
    spare = f"{own}/keys/{another.json()['id']}"
    assert (repeated.status_code, another.status_code) == (200, 201)
    one, keys = "/v1/clients/{client_id}", "/v1/clients/{client_id}/keys"
    return [
        ("post", "/v1/clients", made),
        ("post", "/v1/clients", repeated),
        ("post", "/v1/clients", client.post("/v1/clients", given)),
        ("get", "/v1/clients", admin.get("/v1/clients")),
        ("get", "/v1/clients", client.get("/v1/clients")),
        ("get", one, admin.get(own)),
        ("get", "/v1/me", Caller(admin.port, another.json()["api_key"]).get("/v1/me")),
        ("post", keys, another),
        ("post", keys, client.post(f"{own}/keys", {})),
        ("get", keys, caller.get(f"{own}/keys")),
        ("delete", f"{keys}/{{key_id}}", caller("DELETE", spare)),
        ("delete", f"{keys}/{{key_id}}", client("DELETE", spare)),
        ("post", f"{one}/disable", admin.post(f"{own}/disable")),
        ("get", one, admin.get(own)),
        ("post", f"{one}/enable", admin.post(f"{own}/enable")),
    ]


def assert_documented(document: dict[str, Any], method: str, path: str, answer: Any) -> None:
    """Check status, media type, headers and body of an answer against the document."""
    response = document["paths"][path][method]["responses"][str(answer.status_code)]
    if answer.status_code == requests.codes.no_content:
        assert "content" not in response
        assert answer.content == b""
    else:
        [(media_type, content)] = response["content"].items()
        assert answer.headers["Content-Type"] == media_type
        schema = content["schema"] | {"components": document["components"]}
        Draft202012Validator(schema).validate(answer.json())
    standard = {"Content-Type", "Content-Length", "Connection", "Date", "Server"}
    ours = {"Cache-Control", "X-Content-Type-Options"}
    assert set(answer.headers) - standard - ours <= set(response["headers"])
