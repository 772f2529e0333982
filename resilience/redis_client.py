"""Redis clients that give up after a time-out and leave it to their callers to try again.

Guarantees that a client connects on first use, and that no call takes much longer than its
time-out: redis-py's default would repeat a failed call for many seconds.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def connect(
    url: str,
    timeout_s: float,
    *,
    pool: type[redis.ConnectionPool] = redis.ConnectionPool,
    **options: Any,
) -> redis.Redis:
    """Return a client for `url`. Connects to nothing yet.

    timeout_s: for connecting, and for each answer.
    pool: the kind of pool that holds its connections. options: what else that pool takes.
    """
    return redis.Redis.from_pool(
        pool.from_url(
            url,
            socket_connect_timeout=timeout_s,
            socket_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            **options,
        )
    )


def is_redis(broker_url: str) -> bool:
    """Whether the broker is a Redis; else it speaks AMQP."""
    return broker_url.startswith(("redis://", "rediss://"))
