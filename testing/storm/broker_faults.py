"""Faults of what a broker and a cache hold: emptied, full, or with a forged request in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import redis

from ledger.acceptance import TransferRequest
from ledger.buffer.entries import Buffered, encode
from ledger.clients import Client
from ledger.ids import transfer_id
from settings import Settings
from tasks.broker import queues
from tasks.buffer import redis_stream
from tasks.buffer.intake_buffer import intake_seal
from testing.identity import KEY_PREFIX
from testing.servers.brokers import RedisBroker
from testing.storm.plan import Fault
from testing.storm.scene import NotNow, Scene


@contextmanager
def broker_emptied(scene: Scene, _: Fault) -> Iterator[None]:
    """Delete all, but no request that a client was told is buffered: the broker is its one copy."""
    broker = scene.installation.broker
    if isinstance(broker, RedisBroker):
        stream = KEY_PREFIX + redis_stream.STREAM
        if not broker.client.eval(_EMPTY, 1, stream):
            raise NotNow("requests are buffered")
    else:
        for queue in queues.HINTS:
            broker.purge(queue)
    yield


_EMPTY = """
if redis.call('XLEN', KEYS[1]) > 0 then return 0 end
redis.call('FLUSHALL')
return 1
"""


@contextmanager
def broker_forged(scene: Scene, fault: Fault) -> Iterator[None]:
    """Write a request into the buffer that no client sent, as a stranger on the broker can."""
    installation, wallets = scene.installation, scene.wallets
    source = wallets[fault.victim % len(wallets)]
    destination = next(w for w in wallets if w.asset == source.asset and w.id != source.id)
    assert source.owner_id is not None
    request = TransferRequest(
        client=Client(source.owner_id, "", "client", None),
        idempotency_key=f"forged-{fault.victim}",
        source_id=source.id,
        destination_id=destination.id,
        asset=source.asset,
        scale=source.scale,
        amount_minor=1,
        reference=f"forged {fault.victim}",
    )
    settings = Settings.from_environment(
        installation.direct | {"INTAKE_SECRET": "guessed-by-somebody-0123456789abcdef"}
    )
    content = encode(Buffered(request, datetime.now(UTC)), intake_seal(settings))
    installation.broker.forge(str(transfer_id(source.owner_id, request.idempotency_key)), content)
    yield


@contextmanager
def broker_full(scene: Scene, _: Fault) -> Iterator[None]:
    scene.installation.broker.fill()
    try:
        yield
    finally:
        scene.installation.broker.make_room()


@contextmanager
def cache_emptied(scene: Scene, _: Fault) -> Iterator[None]:
    redis.Redis.from_url(scene.installation.cache.url, socket_timeout=2).flushall()
    yield


@contextmanager
def cache_full(scene: Scene, _: Fault) -> Iterator[None]:
    """Write as much as fits, so that the cache drops what was used least."""
    cache = redis.Redis.from_url(scene.installation.cache.url, socket_timeout=2)
    dropped = cache.info("stats")["evicted_keys"]
    for number in range(_PIECES):
        cache.set(f"filler {number}", bytes(_PIECE_BYTES))
        if cache.info("stats")["evicted_keys"] > dropped:
            break
    else:
        raise NotNow("it has more room than that")
    try:
        yield
    finally:
        cache.delete(*(f"filler {number}" for number in range(_PIECES)))


_PIECE_BYTES = 1 << 20
_PIECES = 200
