"""Chooses the intake buffer by the broker's URL: a Redis stream or a RabbitMQ queue."""

from __future__ import annotations

from ledger.buffer.entries import IntakeBuffer
from ledger.buffer.seal import Seal, seal_of
from resilience.redis_client import is_redis
from settings import Settings
from tasks.buffer.put_log import PutLog


def intake_buffer(settings: Settings) -> IntakeBuffer:
    """Return the buffer of this process. It connects on first use."""
    return _named(settings, key_prefix=settings.key_prefix, queue_prefix=settings.queue_prefix)


def unnamed_buffer(settings: Settings) -> IntakeBuffer:
    """Return the buffer of version 1.0.0, which was not named after an installation.

    On a RabbitMQ that has no such queue its calls raise Unavailable.
    """
    return _named(settings, key_prefix="truepenny:", queue_prefix="")


def _named(settings: Settings, *, key_prefix: str, queue_prefix: str) -> IntakeBuffer:
    if not is_redis(settings.broker_url):
        from tasks.buffer.client_shares import ClientShares
        from tasks.buffer.rabbitmq_queue import IntakeQueue
        from tasks.buffer.receipts import Receipts

        return IntakeQueue(
            settings.broker_url,
            queue_prefix=queue_prefix,
            limit=settings.intake_buffer_limit,
            seal=intake_seal(settings),
            receipts=Receipts(
                settings.cache_url,
                key_prefix=key_prefix,
                seal=seal_of(settings, purpose="intake receipt"),
            ),
            shares=ClientShares(
                settings.cache_url,
                key_prefix=settings.key_prefix,
                limit=settings.intake_buffer_limit,
                processes=settings.api_processes,
            ),
            put_log=put_log(settings),
        )
    from tasks.buffer.redis_stream import IntakeStream

    return IntakeStream(
        settings.broker_url,
        key_prefix=key_prefix,
        limit=settings.intake_buffer_limit,
        seal=intake_seal(settings),
        put_log=put_log(settings),
    )


def put_log(settings: Settings) -> PutLog:
    """Return the log of what is put into this installation's buffer. It connects on first use."""
    seal = seal_of(settings, purpose="intake put")
    return PutLog(settings.cache_url, key_prefix=settings.key_prefix, seal=seal)


def intake_seal(settings: Settings) -> Seal:
    """Return what authenticates the entries of this installation's buffer."""
    return seal_of(settings, purpose="intake entry")
