"""The application without its servers: what it answers when nothing of them is needed."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from api.authentication import KeyRing
from api.last_known import LastKnown, short_cache_client
from api.services import Services, build_services
from ledger.clients import Client
from ledger.errors import Misconfigured
from monitoring.logs import formatter
from settings import Settings
from tasks.intake_buffer import intake_buffer

SETTINGS = Settings.from_environment(
    {
        "DATABASE_URL": "postgresql://nobody:hunter2@127.0.0.1:1/nothing",
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "CACHE_URL": "redis://127.0.0.1:1/0",
        "RATE_LIMIT": "none",
    }
)
LIMITED = replace(SETTINGS, rate_limit="10/minute")

NOTHING_KNOWN = LastKnown(short_cache_client(SETTINGS.cache_url), secret="")


@pytest.fixture
def services() -> Services:
    return build_services(SETTINGS, buffer=intake_buffer(SETTINGS), kick=lambda: None)


def test_building_connects_to_nothing_and_live_needs_nothing(services: Services) -> None:
    answer = client_of(services).get("/health/live")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_nothing_is_looked_up_for_a_stranger_without_a_key(services: Services) -> None:
    assert client_of(services).get("/v1/wallets").status_code == 401


@pytest.mark.parametrize(
    "error", [RuntimeError("SELECT key FROM clients"), Misconfigured("SELECT key FROM clients")]
)
def test_a_bug_is_answered_without_a_word_about_it_and_logged_with_its_request_id(
    services: Services, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def find(_: str) -> Client:
        raise error

    client = client_of(replace(services, keys=KeyRing(find, NOTHING_KNOWN)))
    answer = client.get("/v1/wallets", headers={"Authorization": "Bearer secret-key"})
    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert '"code":"internal_error"' in answer.text
    assert "SELECT" not in answer.text
    [record] = caplog.records
    assert record.message == "request_failed"
    assert record.truepenny_fields["request_id"] == answer.headers["X-Request-Id"]  # type: ignore[attr-defined]
    assert "secret-key" not in caplog.text


def test_the_lines_of_a_request_have_its_ids_and_the_next_one_on_the_thread_has_its_own(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    def find(api_key: str) -> Client | None:
        if api_key == "broken":
            raise RuntimeError
        return known

    known = Client(uuid4(), "x", "client", "none")
    client = client_of(
        replace(
            services,
            keys=KeyRing(find, NOTHING_KNOWN),
            database=None,  # type: ignore[arg-type]  # a bug behind the authentication
        )
    )
    transfer_id = str(uuid4())
    for api_key, id in (("good", "first"), ("broken", "second")):
        headers = {"Authorization": f"Bearer {api_key}", "X-Request-Id": id}
        assert client.get(f"/v1/transfers/{transfer_id}", headers=headers).status_code == 500
        logging.getLogger("lib").warning("after the request")
    lines = [json.loads(formatter(terminal=False).format(record)) for record in caplog.records]
    first, second = (line for line in lines if line["event"] == "request_failed")
    assert (first["request_id"], first["transfer_id"]) == ("first", transfer_id)
    assert first["client_id"] == str(known.id)
    assert second["request_id"] == "second"
    assert "client_id" not in second
    after = [line for line in lines if line["event"] == "after the request"]
    assert len(after) == 2
    assert not any({"request_id", "client_id", "transfer_id"} & line.keys() for line in after)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_client_without_a_limit_and_whoever_reads_cost_the_cache_nothing(method: str) -> None:
    services = build_services(LIMITED, buffer=intake_buffer(LIMITED), kick=lambda: None)
    limit = None if method == "GET" else "none"
    client = Client(uuid4(), "x", "client", limit)
    known = replace(services, keys=KeyRing(lambda _: client, NOTHING_KNOWN))
    headers = {"Authorization": "Bearer key", "Content-Type": "text/plain"}
    answer = client_of(known).open("/v1/wallets?wrong", method=method, headers=headers)
    assert answer.status_code == 400
    assert "X-RateLimit-Limit" not in answer.headers
    assert known.counters.are_shared  # nobody has found out yet that there is no cache


def test_no_hook_of_the_limiter_runs_around_every_request(services: Services) -> None:
    app = create_app(services)
    hooks = [*app.before_request_funcs[None], *app.after_request_funcs[None]]
    assert {hook.__module__ for hook in hooks} == {
        "api.app",
        "api.measuring",
        "api.request_ids",
    }
    assert {hook.__module__ for hook in app.teardown_request_funcs[None]} == {"api.request_ids"}


def client_of(services: Services) -> FlaskClient:
    return create_app(services).test_client()
