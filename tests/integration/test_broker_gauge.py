"""One gauge of the broker's memory: /health, the metrics and the refusal say the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from api.authentication import KeyRing
from api.services import build_services
from ledger.clients import Client
from monitoring.server_checks import broker_probe
from tasks.intake_buffer import intake_buffer
from tasks.pressure import Pressure
from tests.brokers import RedisBroker
from tests.unit.test_api_application import NOTHING_KNOWN, SETTINGS
from tests.worker_processes import eventually


@pytest.fixture
def api(redis_broker: RedisBroker) -> Iterator[FlaskClient]:
    """One API process whose broker is real. Its other servers are away."""
    redis_broker.empty()
    settings = replace(SETTINGS, broker_url=redis_broker.url)
    services = build_services(
        settings,
        buffer=intake_buffer(settings),
        kick=lambda: None,
        pressure=Pressure(broker_probe(redis_broker.url)),
        reconcile=lambda: None,
        queue_lengths=dict,
    )
    client = Client(uuid4(), "x", "client", "none")
    known = replace(services, keys=KeyRing(lambda _: client, NOTHING_KNOWN))
    yield create_app(known).test_client()
    redis_broker.empty()


def use(broker: RedisBroker, percent: int) -> None:
    """Set the limit so that this much of it is used now."""
    memory = broker.client.info("memory")
    used = memory["used_memory"] - memory["mem_not_counted_for_evict"]
    broker.client.config_set("maxmemory", used * 100 // percent)


def refuses(api: FlaskClient) -> bool:
    """Whether a new transfer is refused as one too many."""
    headers = {"Authorization": "Bearer key", "Idempotency-Key": "one"}
    answer = api.post("/v1/transfers", headers=headers, json={})
    assert answer.json is not None
    return bool(answer.json["code"] == "overloaded")


def health_says_refused(api: FlaskClient) -> bool:
    answer = api.get("/health")
    assert answer.json is not None
    return "new transfers are refused" in answer.json["components"]["broker"]["detail"]


def test_between_the_two_marks_health_says_what_the_api_does(
    api: FlaskClient, redis_broker: RedisBroker
) -> None:
    limit = redis_broker.client.info("memory")["maxmemory"]
    for _ in range(500):  # in small pieces: a large one leaves a buffer that shrinks later
        redis_broker.client.rpush("filler", bytes(16_000))
    try:
        use(redis_broker, 50)
        eventually(lambda: not refuses(api))
        use(redis_broker, 83)  # rising: not yet full
        assert not health_says_refused(api)
        assert not refuses(api)
        use(redis_broker, 88)
        eventually(lambda: refuses(api))
        assert health_says_refused(api)
        use(redis_broker, 83)  # falling: full until it is below the lower mark
        for _ in range(3):
            assert health_says_refused(api)
            assert refuses(api)
        use(redis_broker, 75)
        eventually(lambda: not refuses(api))
        assert not health_says_refused(api)
    finally:
        redis_broker.client.config_set("maxmemory", int(limit))
