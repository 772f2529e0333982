"""Probes for the broker and the cache: one connection each, and an answer within a second.

Guarantees that a look gives up by itself, also on a server that takes connections and then
says nothing, as a frozen one does: the time limit covers the handshake too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import amqp
import redis
from kombu import Connection as BrokerConnection

from monitoring.health.redis_info import (
    MEMORY,
    ServerFinding,
    ServerRole,
    counters,
    findings,
    is_loading,
    memory_percent,
    memory_share,
)
from resilience.redis_client import connect, is_redis

TIMEOUT_S = 0.8
_ALARM_HEARD_WITHIN_S = 0.15
_HEARTBEAT_S = 5
_NOBODY = "truepenny.nobody"
"""No queue has this name: the broker confirms what is published to it, and forgets it."""


class NotServing(Exception):
    """The server answers, but does nothing else yet."""


@dataclass(frozen=True, slots=True)
class BrokerReading:
    """One look at the broker.

    is_full: whether the API refuses new transfers because of it.
    memory_share: how much of its memory is used; None when it has no limit or may not be asked.
    RabbitMQ gives no figure: 1 while it has an alarm, else 0.
    well: how it is when nothing was found.
    """

    is_full: bool
    memory_share: float | None
    findings: list[ServerFinding]
    well: str = "answers"
    counters: dict[str, int] = field(default_factory=dict)


class BrokerProbe(Protocol):
    """Looks at one broker. Not for two threads at once."""

    def read(self, *, was_full: bool) -> BrokerReading:
        """Look now. was_full: whether the broker was full at the look before.

        Raises:
            NotServing: when it still reads its data.
            OSError, redis.RedisError, amqp.AMQPError: when it does not answer.
        """

    def close(self) -> None:
        """Close the connection, if there is one. A later look opens another."""


class BrokerGauge(Protocol):
    """The readings by which one process refuses new work."""

    def seen(self) -> tuple[bool, float | None]:
        """Return the last reading: whether new work is refused, and the used share of memory.

        Returns at once and never raises.
        """

    def look(self) -> BrokerReading:
        """Take a reading now, and go by it. Raises: what `BrokerProbe.read` raises."""


def broker_probe(url: str) -> BrokerProbe:
    """Return the probe for this broker. It connects when it looks for the first time."""
    return RedisProbe(url) if is_redis(url) else RabbitProbe(url)


def redis_client(url: str) -> redis.Redis:
    """Return a client for short questions. It connects on first use."""
    return connect(url, TIMEOUT_S, max_connections=4)


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


def redis_findings(
    role: ServerRole, info: Mapping[str, Any] | None, *, was_full: bool = False
) -> tuple[str, list[ServerFinding]]:
    """Return how a Redis is when all is well, and what is wrong with it."""
    percent = None if info is None else memory_percent(info)
    well = "answers" if percent is None else f"answers, {percent} % of its memory is used"
    return well, [] if info is None else findings(role, info, was_full=was_full)


class RedisProbe:
    """Asks a Redis for INFO."""

    def __init__(self, url: str) -> None:
        self._client = connect(url, TIMEOUT_S, max_connections=1)

    def read(self, *, was_full: bool) -> BrokerReading:
        """Ask now, see `BrokerProbe`."""
        info = redis_info(self._client)
        well, found = redis_findings("broker", info, was_full=was_full)
        return BrokerReading(
            is_full=any(each.code == MEMORY for each in found),
            memory_share=None if info is None else memory_share(info),
            findings=found,
            well=well,
            counters={} if info is None else counters(info),
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class RabbitProbe:
    """Publishes to a RabbitMQ, which tells publishers when it has an alarm and takes nothing.

    RabbitMQ tells its clients no figures. It raises the alarm far below the machine's memory,
    where its operator says.
    """

    def __init__(self, url: str) -> None:
        self._hosts = url.split(";")
        self._channel: Any = None
        self._has_alarm = False
        self._is_confirmed = False

    def read(self, *, was_full: bool) -> BrokerReading:  # noqa: ARG002 - the broker decides
        """Publish now, or wait for the end of the alarm, see `BrokerProbe`."""
        # A connection may have died since the look before: only a new one tells.
        for is_reused in (True, False) if self._channel is not None else (False,):
            try:
                self._ask()
                break
            except Exception as error:
                self.close()
                if not is_reused or isinstance(error, TimeoutError):
                    raise
        if not self._has_alarm:
            return BrokerReading(is_full=False, memory_share=0.0, findings=[])
        said = "has a memory or disk alarm and takes no messages: new transfers are refused"
        return BrokerReading(
            is_full=True, memory_share=1.0, findings=[ServerFinding("alarm", said, refuses=True)]
        )

    def close(self) -> None:
        """Drop the connection at once: one that is blocked would not hear a goodbye."""
        channel, self._channel, self._has_alarm = self._channel, None, False
        if channel is not None and channel.connection is not None:
            channel.connection.collect()

    def _ask(self) -> None:
        if self._channel is None:
            self._channel = self._open()
        connection = self._channel.connection
        if self._has_alarm:
            connection.heartbeat_tick()  # raises when the broker's own are missing
            with suppress(TimeoutError):  # until the alarm ends, silence is what it means
                while self._has_alarm:
                    connection.drain_events(timeout=_ALARM_HEARD_WITHIN_S)
            return
        self._is_confirmed = False
        self._channel.basic_publish(amqp.Message(b"", delivery_mode=1), routing_key=_NOBODY)
        give_up_at_s = time.monotonic() + TIMEOUT_S
        while not (self._is_confirmed or self._has_alarm):
            connection.drain_events(timeout=max(give_up_at_s - time.monotonic(), 0.001))

    def _open(self) -> Any:
        """Log in to the first host that answers, and ask it to confirm what it takes."""
        for host in self._hosts[:-1]:
            with suppress(OSError, amqp.AMQPError):  # the next host may answer
                return self._log_in(host)
        return self._log_in(self._hosts[-1])

    def _log_in(self, host: str) -> Any:
        timeout_s = TIMEOUT_S / len(self._hosts)
        options = {
            "read_timeout": timeout_s,
            "write_timeout": timeout_s,
            "on_blocked": self._on_blocked,
            "on_unblocked": self._on_unblocked,
        }
        client = BrokerConnection(
            host, connect_timeout=timeout_s, heartbeat=_HEARTBEAT_S, transport_options=options
        )
        # Not `connect`: that waits two seconds and tries again.
        connection: Any = client.transport.establish_connection()
        try:
            channel = connection.channel()
            channel.confirm_select()
        except BaseException:
            connection.collect()
            raise
        channel.events["basic_ack"].add(self._on_ack)
        return channel

    def _on_ack(self, _delivery_tag: int, _multiple: bool) -> None:  # noqa: FBT001 - amqp's call
        self._is_confirmed = True

    def _on_blocked(self, _reason: str) -> None:
        self._has_alarm = True

    def _on_unblocked(self) -> None:
        self._has_alarm = False
