"""Redis clients that give up after a time-out and leave retries to their callers.

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
    """Return a client for `url`. It connects on first use.

    timeout_s: for connecting, and for each answer.
    pool: the class of its connection pool. options: further arguments of that pool.
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
    """Whether the broker is a Redis; otherwise it speaks AMQP."""
    return broker_url.startswith(("redis://", "rediss://"))
