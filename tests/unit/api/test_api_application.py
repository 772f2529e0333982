"""API application without its servers: answers that need none of them."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from api.http.headers import REPEATED
from api.services import Services, build_services
from ledger.clients import Client
from ledger.errors import Misconfigured
from monitoring.health.broker_probe import BrokerReading, broker_probe
from monitoring.logs import formatter
from settings import Settings
from tasks.buffer.intake_buffer import intake_buffer
from testing.fakes.known_keys import ring_of
from testing.identity import IDENTITY

SETTINGS = Settings.from_environment(
    {
        **IDENTITY,
        "DATABASE_URL": "postgresql://nobody:hunter2@127.0.0.1:1/nothing",
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "CACHE_URL": "redis://127.0.0.1:1/0",
        "RATE_LIMIT": "none",
    }
)
LIMITED = replace(SETTINGS, rate_limit="10/minute")


class Relieved:
    """A broker gauge that never reports full, and reads only when asked."""

    def __init__(self, broker_url: str) -> None:
        self._probe = broker_probe(broker_url)

    def latest(self) -> tuple[bool, float | None]:
        return False, None

    def read_now(self) -> BrokerReading:
        return self._probe.read(was_full=False)


def make_services(settings: Settings = SETTINGS) -> Services:
    """Build the services of a process without workers, whose broker is never full."""
    return build_services(
        settings,
        buffer=intake_buffer(settings),
        kick=lambda: None,
        pressure=Relieved(settings.broker_url),
        reconcile=lambda: None,
        queue_lengths=dict,
    )


@pytest.fixture
def services() -> Services:
    return make_services()


def test_building_connects_to_nothing_and_live_needs_nothing(services: Services) -> None:
    answer = client_of(services).get("/health/live")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_no_lookup_is_made_for_a_request_without_a_key(services: Services) -> None:
    assert client_of(services).get("/v1/wallets").status_code == 401


@pytest.mark.parametrize(
    ("repeated", "named"),
    [("Idempotency-Key", "Idempotency-Key"), ("Authorization,X-Request-Id", "Authorization")],
)
def test_a_repeated_header_is_refused_before_the_key_is_looked_up(
    services: Services, repeated: str, named: str
) -> None:
    environ = {f"HTTP_{REPEATED}": repeated, "HTTP_X_REQUEST_ID": "a,a"}
    answer = client_of(services).get("/v1/wallets", environ_overrides=environ)
    problem = json.loads(answer.data)
    assert (problem["status"], problem["code"]) == (400, "invalid_request")
    assert problem["detail"] == f"{named} is given more than once. Send it once."
    assert (problem["request_id"] == "a,a") is ("X-Request-Id" not in repeated)


@pytest.mark.parametrize(
    "error", [RuntimeError("SELECT key FROM clients"), Misconfigured("SELECT key FROM clients")]
)
def test_a_bug_is_answered_without_details_and_logged_with_its_request_id(
    services: Services, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def find(_: str) -> Client:
        raise error

    client = client_of(replace(services, keys=ring_of(find)))
    answer = client.get("/v1/wallets", headers={"Authorization": "Bearer secret-key"})
    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert '"code":"internal_error"' in answer.text
    assert "SELECT" not in answer.text
    [record] = caplog.records
    assert record.message == "request_failed"
    assert record.truepenny_fields["request_id"] == answer.headers["X-Request-Id"]  # type: ignore[attr-defined]
    assert "secret-key" not in caplog.text


def test_log_lines_have_the_ids_of_their_own_request(
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
            keys=ring_of(find),
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
def test_reads_and_clients_without_a_limit_do_not_use_the_cache(method: str) -> None:
    services = make_services(LIMITED)
    limit = None if method == "GET" else "none"
    client = Client(uuid4(), "x", "client", limit)
    known = replace(services, keys=ring_of(lambda _: client))
    headers = {"Authorization": "Bearer key", "Content-Type": "text/plain"}
    answer = client_of(known).open("/v1/wallets?wrong", method=method, headers=headers)
    assert answer.status_code == 400
    assert "X-RateLimit-Limit" not in answer.headers
    assert known.counters.are_shared  # no request has noticed yet that there is no cache


def test_a_write_is_counted_before_its_body_is_read_and_refused_when_it_is_one_too_many() -> None:
    services = make_services(replace(LIMITED, rate_limit="2/minute", api_processes=1))
    client = Client(uuid4(), "x", "client", None)
    app = client_of(replace(services, keys=ring_of(lambda _: client)))
    headers = {"Authorization": "Bearer key", "Content-Type": "text/plain"}
    answers = [app.post("/v1/wallets", headers=headers, data="no JSON") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [415, 415, 429, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0", "0"]
    assert "Retry-After" not in answers[0].headers
    assert answers[2].json is not None
    assert answers[2].json["code"] == "rate_limited"
    assert "2 per 1 minute" in answers[2].json["detail"]


def client_of(services: Services) -> FlaskClient:
    return create_app(services).test_client()
