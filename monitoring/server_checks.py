"""Looks at the broker and the cache: one connection each, and an end to each within a second.

Guarantees that a look gives up by itself, also on a server that takes connections and then
says nothing, as a frozen one does: the time limit covers the handshake and the goodbye.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import amqp
import redis
from kombu import Connection as BrokerConnection
from redis.backoff import NoBackoff
from redis.retry import Retry

from monitoring.server_info import Finding, Role, findings, is_loading, memory_percent

TIMEOUT_S = 0.8
_ALARM_HEARD_WITHIN_S = 0.15
_NOBODY = "truepenny.nobody"


class NotServing(Exception):
    """The server answers, but does nothing else yet."""


def redis_client(url: str, *, timeout_s: float = TIMEOUT_S) -> redis.Redis:
    """Return a client for short questions. It connects on first use."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
        max_connections=4,
        retry=Retry(NoBackoff(), 0),  # its default would go on asking for many seconds
    )


def is_redis(broker_url: str) -> bool:
    """Whether the broker is a Redis; else it speaks AMQP."""
    return broker_url.startswith(("redis://", "rediss://"))


def redis_info(client: redis.Redis) -> Mapping[str, Any] | None:
    """Ask for INFO; None where this user may not, and the server is known to answer.

    Raises:
        redis.RedisError: when it does not answer.
        NotServing: when it still reads its data.
    """
    try:
        info: Mapping[str, Any] = client.info()
    except redis.exceptions.NoPermissionError:
        return None
    if is_loading(info):
        raise NotServing("still reads its data from disk after a start")
    return info


def redis_findings(role: Role, info: Mapping[str, Any] | None) -> tuple[str, list[Finding]]:
    """Return how a Redis is when all is well, and what is amiss with it."""
    percent = None if info is None else memory_percent(info)
    well = "answers" if percent is None else f"answers, {percent} % of its memory is used"
    return well, [] if info is None else findings(role, info)


def amqp_findings(url: str) -> list[Finding]:
    """Log in, publish to nobody, and hear whether an alarm keeps the broker from taking it.

    Raises: OSError, amqp.AMQPError: when no host of `url` answers.
    """
    hosts = url.split(";")
    for host in hosts[:-1]:
        with suppress(OSError, amqp.AMQPError):  # the next host may answer
            return _amqp_findings(host, timeout_s=TIMEOUT_S / len(hosts))
    return _amqp_findings(hosts[-1], timeout_s=TIMEOUT_S / len(hosts))


def _amqp_findings(url: str, *, timeout_s: float) -> list[Finding]:
    alarms: list[object] = []
    options = {"on_blocked": alarms.append}
    client = BrokerConnection(url, connect_timeout=timeout_s, transport_options=options)
    # Not `connect`: that waits two seconds and tries again.
    connection = client.transport.establish_connection()
    try:
        connection.sock.settimeout(timeout_s)
        # RabbitMQ tells of an alarm only whoever publishes.
        connection.channel().basic_publish(amqp.Message(""), routing_key=_NOBODY)
        with suppress(socket.timeout):
            connection.drain_events(timeout=_ALARM_HEARD_WITHIN_S)
        if not alarms:
            connection.close()
    finally:
        connection.collect()  # one that is blocked hears no goodbye
    if not alarms:
        return []
    said = "has a memory or disk alarm and takes no messages: new transfers are refused"
    return [Finding("alarm", said, refuses=True)]
