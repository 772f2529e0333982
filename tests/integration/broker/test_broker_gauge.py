"""One gauge of the broker's memory: /health, the metrics and the refusal say the same."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from flask.testing import FlaskClient

from api.app import create_app
from api.services import build_services
from ledger.clients import Client
from monitoring.health.broker_probe import broker_probe
from tasks.broker.backpressure import BackpressureGauge
from tasks.buffer.intake_buffer import intake_buffer
from testing.fakes.known_keys import ring_of
from testing.servers.brokers import Broker, RedisBroker
from testing.worker_processes import eventually
from tests.unit.api.test_api_application import SETTINGS


def api_on(broker: Broker) -> FlaskClient:
    """One API process with a real broker. Its other servers are down."""
    settings = replace(SETTINGS, broker_url=broker.url)
    services = build_services(
        settings,
        buffer=intake_buffer(SETTINGS),
        kick=lambda: None,
        pressure=BackpressureGauge(broker_probe(broker.url)),
        reconcile=lambda: None,
        queue_lengths=dict,
    )
    client = Client(uuid4(), "x", "client", "none")
    known = replace(services, keys=ring_of(lambda _: client))
    return create_app(known).test_client()


def use(broker: RedisBroker, percent: int) -> None:
    """Set the memory limit so that this share of it is used now."""
    memory = broker.client.info("memory")
    used = memory["used_memory"] - memory["mem_not_counted_for_evict"]
    broker.client.config_set("maxmemory", used * 100 // percent)


def refuses(api: FlaskClient) -> bool:
    """Return whether a new transfer is refused because the broker is full."""
    headers = {"Authorization": "Bearer key", "Idempotency-Key": "one"}
    answer = api.post("/v1/transfers", headers=headers, json={})
    assert answer.json is not None
    return bool(answer.json["code"] == "overloaded")


def health_says_refused(api: FlaskClient) -> bool:
    answer = api.get("/health")
    assert answer.json is not None
    return "new transfers are refused" in answer.json["components"]["broker"]["detail"]


def is_overloaded(api: FlaskClient) -> bool:
    """Return the share of broker memory in the metrics."""
    return "truepenny_overloaded 1.0" in api.get("/metrics").text


def test_health_metrics_and_the_refusal_agree_on_a_broker_that_is_full(broker: Broker) -> None:
    api = api_on(broker)
    for _ in range(2):
        eventually(lambda: not refuses(api))
        assert not health_says_refused(api)
        broker.fill()
        try:
            eventually(lambda: health_says_refused(api))
            assert refuses(api)  # the same reading as above
            eventually(lambda: is_overloaded(api))
        finally:
            broker.make_room()
        eventually(lambda: not health_says_refused(api))
        assert not refuses(api)


def test_between_the_two_marks_health_agrees_with_what_the_api_does(
    redis_broker: RedisBroker,
) -> None:
    redis_broker.empty()
    api = api_on(redis_broker)
    limit = redis_broker.client.info("memory")["maxmemory"]
    for _ in range(500):  # in small pieces: a large one would leave a buffer that shrinks later
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
        redis_broker.empty()
