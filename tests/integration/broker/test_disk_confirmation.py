"""Confirmation of the disk: a buffered request is answered only once the broker has it there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from ledger.acceptance import TransferRequest
from ledger.buffer.entries import Buffered, IntakeBuffer, Kept
from ledger.clients import Client
from ledger.errors import Overloaded, Unavailable
from monitoring.health.broker_probe import broker_probe
from settings import Settings
from tasks.buffer.intake_buffer import intake_buffer
from testing.identity import IDENTITY
from testing.servers.brokers import RedisBroker

CLIENT = Client(uuid4(), "", "client", None)


def request() -> Buffered:
    transfer = TransferRequest(
        client=CLIENT,
        idempotency_key=str(uuid4()),
        source_id=uuid4(),
        destination_id=uuid4(),
        asset="USD",
        scale=2,
        amount_minor=5,
    )
    return Buffered(transfer, datetime.now(UTC))


@contextmanager
def buffer_at(url: str) -> Iterator[IntakeBuffer]:
    urls = {"DATABASE_URL": "postgresql://no", "BROKER_URL": url, "CACHE_URL": "redis://no"}
    buffer = intake_buffer(Settings.from_environment({**IDENTITY, **urls}))
    yield buffer
    buffer.close()


@pytest.fixture
def broker(redis_broker: RedisBroker) -> Iterator[RedisBroker]:
    redis_broker.empty()
    yield redis_broker
    redis_broker.client.config_set("appendfsync", "always")
    redis_broker.client.acl_deluser("limited")


def url_of_user(broker: RedisBroker, *forbidden: str) -> str:
    """Return the broker's URL for a user who may not use these commands."""
    rules = [f"-{command}" for command in forbidden]
    broker.client.execute_command(  # type: ignore[no-untyped-call]
        "ACL", "SETUSER", "limited", "reset", "on", ">secret", "~*", "&*", "+@all", *rules
    )
    return f"redis://limited:secret@{broker.url.partition('@')[2]}"


def findings(url: str) -> list[str]:
    probe = broker_probe(url)
    found = [each.code for each in probe.read(was_full=False).findings]
    probe.close()
    return found


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
def test_what_the_disk_confirms_is_kept(broker: RedisBroker, appendfsync: str) -> None:
    broker.client.config_set("appendfsync", appendfsync)
    with buffer_at(broker.url) as buffer:
        [answer] = buffer.put([request()])
    assert isinstance(answer, Kept)
    assert findings(broker.url) == []


def test_what_the_disk_does_not_confirm_in_time_is_in_doubt_and_so_is_its_repeat(
    broker: RedisBroker,
) -> None:
    broker.client.config_set("appendfsync", "no")
    own = request()
    with buffer_at(broker.url) as buffer:
        for _ in range(2):
            began_s = time.monotonic()
            with pytest.raises(Unavailable) as doubtful:
                buffer.put([own])
            assert not isinstance(doubtful.value, Overloaded)
            assert time.monotonic() - began_s < 4
        assert findings(broker.url) == ["fsync"]
        broker.client.config_set("appendfsync", "always")
        [answer] = buffer.put([own])
    assert isinstance(answer, Kept)
    assert not answer.is_new


@pytest.mark.parametrize(
    ("appendfsync", "forbidden", "codes"),
    [
        ("always", ["waitaof"], []),
        ("everysec", ["waitaof"], ["fsync"]),
        ("always", ["waitaof", "config"], ["fsync"]),
        ("everysec", ["config"], []),
    ],
)
def test_a_broker_that_cannot_confirm_keeps_requests_and_is_judged_by_its_setting(
    broker: RedisBroker, appendfsync: str, forbidden: list[str], codes: list[str]
) -> None:
    broker.client.config_set("appendfsync", appendfsync)
    url = url_of_user(broker, *forbidden)
    with buffer_at(url) as buffer:
        [answer] = buffer.put([request()])
    assert isinstance(answer, Kept)
    assert findings(url) == codes
