"""Problems over HTTP that every route can answer, and headers of every answer."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest

from stack.servers.ports import free_port
from testing.http_client import Caller, serving
from tests.acceptance.conftest import WalletPair
from tests.acceptance.http.contract import assert_problem

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer " + "x" * 1000,
        "Bearer \xff",
        "Basic dXNlcjpwYXNz",
        "wrong",
    ],
)
def test_without_a_valid_key_every_route_answers_401(
    client: Caller, authorization: str | None
) -> None:
    nobody = Caller(client.port)
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    for path in ("/v1/wallets", f"/v1/wallets/{uuid.uuid4()}", "/v1/nowhere"):
        answer = nobody("GET", path, headers=headers)
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_scheme_of_a_key_is_read_in_any_case(client: Caller) -> None:
    nobody = Caller(client.port)
    for scheme in ("bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {client.api_key}"}
        assert nobody("GET", "/v1/wallets", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/v1",
        "/v1/",
        "/v1/nowhere",
        "/v1/wallets/",
        "/v1//wallets",
        "/v1/wallets/me",
        "/v1/wallets/00000000-0000-7000-8000-000000000000",
        "/v1/transfers/00000000-0000-5000-8000-000000000000",
        "/v1/quotes",
        "/v1/trades",
        "/v1/prices/",
        "/v1/reconciliations/00000000-0000-7000-8000-000000000000/",
        "/v1/ops",
        "/assets/nowhere",
        "/docs/page.html",
        "/docs/../wsgi.py",
    ],
)
def test_an_unknown_path_is_not_found(client: Caller, path: str) -> None:
    assert_problem(client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/wallets", {"GET", "HEAD", "POST"}),
        ("PUT", "/v1/transfers", {"GET", "HEAD", "POST"}),
        ("GET", "/v1/transfers/batch", {"POST"}),
        ("OPTIONS", "/v1/clients", {"GET", "HEAD", "POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("TRACE", "/docs", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_refused_with_the_allowed_ones(
    client: Caller, method: str, path: str, allowed: set[str]
) -> None:
    answer = client(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("application/*", 200),
        ("application/json", 200),
        ("application/problem+json", 200),
        ("text/html, application/json;q=0.1", 200),
        ("text/html,*/*;q=0.1", 200),
        ("", 200),
        ("text/html", 406),
        ("application/xml", 406),
        ("application/json;q=0", 406),
    ],
)
def test_only_json_is_served(client: Caller, accept: str, status: int) -> None:
    answer = client.get("/v1/wallets", Accept=accept)
    assert answer.status_code == status
    if status == 406:
        assert_problem(answer, 406, "not_acceptable")


def test_a_request_id_is_echoed_on_every_kind_of_answer(
    client: Caller, wallet_pair: WalletPair
) -> None:
    for path in ("/v1/wallets", "/v1/nowhere", "/v1/wallets?limit=0", "/health/live", "/docs"):
        assert client.get(path, **{"X-Request-Id": "my-id/1"}).headers["X-Request-Id"] == "my-id/1"
    problem = client(
        "POST", "/v1/transfers", headers={"X-Request-Id": "x"}, json=wallet_pair.transfer()
    )
    assert problem.json()["request_id"] == "x"


@pytest.mark.parametrize("offered", ["x" * 129, "two words", "caf\xe9", "", "\x7f"])
def test_a_harmful_request_id_is_replaced(client: Caller, offered: str) -> None:
    answer = client("GET", "/health/live", headers={"X-Request-Id": offered.encode("latin-1")})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_answers_are_not_cached_or_sniffed(client: Caller) -> None:
    answer = client.get("/v1/wallets")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_without_a_database_every_answer_is_503_with_retry_after(
    broker_url: str, cache_url: str, tmp_path: Path
) -> None:
    nowhere = f"postgresql://someone:hunter2@127.0.0.1:{free_port()}/nothing"
    log = tmp_path / "gunicorn.log"
    with serving(log=log, DATABASE_URL=nowhere, BROKER_URL=broker_url, CACHE_URL=cache_url) as port:
        caller = Caller(port, "any")
        for answer in (caller.get("/v1/wallets"), caller.submit({}), caller.get("/v1/transfers")):
            assert_problem(answer, 503, "unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
            assert "hunter2" not in answer.text
            assert "psycopg" not in answer.text
        health = caller.get("/health")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert "buffered in the broker" in health.json()["components"]["database"]["detail"]
        assert "hunter2" not in health.text
        assert caller.get("/health/live").status_code == 200
    assert "hunter2" not in log.read_text()
