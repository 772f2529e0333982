"""Forged notes under the id of a request to come: they change neither it nor its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import redis

from ledger.acceptance import TransferRequest
from ledger.buffer.entries import MAX_ENTRY_BYTES, Buffered, IntakeBuffer, Kept, decode, encode
from ledger.buffer.seal import Seal, seal_of
from ledger.clients import Client
from settings import Settings
from tasks.buffer import redis_stream
from tasks.buffer.intake_buffer import intake_buffer, intake_seal
from testing.identity import IDENTITY, KEY_PREFIX
from testing.servers.brokers import Broker, RedisBroker

VICTIM = Client(uuid4(), "", "client", None)


@pytest.fixture
def settings(broker: Broker, cache_url: str) -> Settings:
    broker.empty()
    return settings_with(broker, cache_url)


def settings_with(broker: Broker, cache_url: str) -> Settings:
    urls = {"DATABASE_URL": "postgresql://no", "BROKER_URL": broker.url, "CACHE_URL": cache_url}
    return Settings.from_environment({**IDENTITY, **urls})


@pytest.fixture
def buffer(settings: Settings) -> Iterator[IntakeBuffer]:
    buffer = intake_buffer(settings)
    yield buffer
    buffer.close()


def request(key: str | None = None, **changes: object) -> Buffered:
    fields: dict[str, object] = {
        "client": VICTIM,
        "idempotency_key": key or str(uuid4()),
        "source_id": uuid4(),
        "destination_id": uuid4(),
        "asset": "USD",
        "scale": 2,
        "amount_minor": 5,
    }
    return Buffered(TransferRequest(**fields | changes), datetime.now(UTC))  # type: ignore[arg-type]


def write_note(broker: Broker, cache_url: str, own: Buffered, content: bytes) -> None:
    """Write this where the buffer looks for what it knows under the id of a request."""
    if isinstance(broker, RedisBroker):
        broker.client.hset(KEY_PREFIX + redis_stream.REQUESTS, str(own.id), content)
    else:
        with redis.Redis.from_url(cache_url) as cache:
            cache.set(f"{KEY_PREFIX}intake:receipt:2:{own.id}", content)


def theft(own: Buffered) -> Buffered:
    """Return a request with the same id that pays somebody else."""
    return replace(own, request=replace(own.request, destination_id=uuid4(), amount_minor=999))


FORGERIES: dict[str, Callable[[Settings, Buffered], bytes]] = {
    "another content": lambda settings, own: encode(own, intake_seal(settings)).replace(
        b'"amount":5', b'"amount":9'
    ),
    "another purpose": lambda settings, own: encode(theft(own), seal_of(settings, purpose="x")),
    "another id": lambda settings, _: encode(request(), kept_with(settings)),
    "garbage": lambda _, __: b"\xff",
}


def kept_with(settings: Settings) -> Seal:
    """Return the seal of what stands under an id: entries on Redis, receipts beside RabbitMQ."""
    is_queue = settings.broker_url.startswith("amqp")
    return seal_of(settings, purpose="intake receipt" if is_queue else "intake entry")


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_note_under_an_id_changes_nothing(
    settings: Settings, broker: Broker, cache_url: str, buffer: IntakeBuffer, forgery: str
) -> None:
    own = request()
    write_note(broker, cache_url, own, FORGERIES[forgery](settings, own))
    assert buffer.find(own.id) is None
    [kept] = buffer.put([own])
    assert isinstance(kept, Kept)
    assert (kept.buffered, kept.is_new) == (own, True)
    assert buffer.find(own.id) == own
    entries = buffer.first(10)
    buffer.remove(entries)
    assert [decode(entry.content, intake_seal(settings)) for entry in entries] == [own]


def test_a_genuine_note_is_believed(
    settings: Settings, buffer: IntakeBuffer, broker: Broker, cache_url: str
) -> None:
    own = request()
    write_note(broker, cache_url, own, encode(own, kept_with(settings)))
    assert buffer.find(own.id) == own
    [kept] = buffer.put([theft(own)])
    assert isinstance(kept, Kept)
    assert (kept.buffered, kept.is_new) == (own, False)


@pytest.mark.parametrize("is_large", [False, True])
def test_a_forgery_that_is_replaced_while_it_is_drained_takes_nothing_along(
    redis_broker: RedisBroker, cache_url: str, *, is_large: bool
) -> None:
    redis_broker.empty()
    settings, own = settings_with(redis_broker, cache_url), request()
    forged = bytes(MAX_ENTRY_BYTES + 1) if is_large else b"\xff"
    with closing(intake_buffer(settings)) as buffer:
        redis_broker.forge(str(own.id), forged)
        read = buffer.first(10)
        buffer.put([own])
        buffer.remove(read)
        [entry] = buffer.first(10)
        assert decode(entry.content, intake_seal(settings)) == own
        buffer.remove([entry])
        assert buffer.find(own.id) is None
        redis_broker.forge(str(own.id), forged)
        buffer.remove(buffer.first(10))
        assert redis_broker.client.hlen(KEY_PREFIX + redis_stream.REQUESTS) == 0
