"""Probes of the broker and the cache: one connection each, and an answer within a second.

Guarantees that a reading gives up on its own, also if the server accepts connections and then
does not answer, as a frozen one does: the time limit includes the handshake.
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

from monitoring.health import amqp_tls
from monitoring.health.amqp_hosts import AmqpHosts
from monitoring.health.redis_info import (
    MEMORY,
    ServerFinding,
    ServerRole,
    counters,
    durability,
    findings,
    is_loading,
    memory_percent,
    memory_share,
    server_id,
)
from resilience.redis_client import connect, is_redis

TIMEOUT_S = 0.8
_ALARM_SEEN_WITHIN_S = 0.15
_HEARTBEAT_S = 5
_NO_QUEUE = "truepenny.nobody"
"""No queue has this name: the broker confirms messages to it, and discards them."""


class NotServing(Exception):
    """The server answers, but is still loading its data."""


@dataclass(frozen=True, slots=True)
class BrokerReading:
    """One reading of the broker.

    is_full: whether the API refuses new transfers because of it.
    memory_share: used share of its memory; None without a limit, or if INFO is not permitted.
    RabbitMQ gives no figure: 1 while it has an alarm, else 0.
    well: the detail to show if there are no findings.
    server_id: as in `redis_info.server_id`; None for a RabbitMQ, or if INFO is not permitted.
    """

    is_full: bool
    memory_share: float | None
    findings: list[ServerFinding]
    well: str = "answers"
    counters: dict[str, int] = field(default_factory=dict)
    server_id: str | None = None


class BrokerProbe(Protocol):
    """Reads the state of one broker. Threads must not share it."""

    def read(self, *, was_full: bool) -> BrokerReading:
        """Take a reading. was_full: whether the broker was full at the reading before.

        Raises:
            NotServing: when it is still loading its data.
            OSError, redis.RedisError, amqp.AMQPError: when it does not answer.
        """

    def close(self) -> None:
        """Close the connection, if there is one. A later reading opens another."""


class BrokerGauge(Protocol):
    """The readings by which one process refuses new work."""

    def latest(self) -> tuple[bool, float | None]:
        """Return the last reading: whether new work is refused, and the used share of memory.

        Returns at once and never raises.
        """

    def read_now(self) -> BrokerReading:
        """Take a reading now, and use it from now on. Raises: what `BrokerProbe.read` raises."""


def broker_probe(url: str) -> BrokerProbe:
    """Return the probe for this broker. It connects on first use."""
    return RedisProbe(url) if is_redis(url) else RabbitProbe(url)


def redis_client(url: str) -> redis.Redis:
    """Return a client for short requests. It connects on first use."""
    return connect(url, TIMEOUT_S, max_connections=4)


def redis_info(client: redis.Redis) -> Mapping[str, Any] | None:
    """Return the answer of INFO; None if this user has no permission, which proves an answer too.

    Raises:
        redis.RedisError: when the server does not answer.
        NotServing: when it is still loading its data.
    """
    try:
        info: Mapping[str, Any] = client.info()
    except redis.exceptions.NoPermissionError:
        return None
    if is_loading(info):
        raise NotServing("is still loading its data from disk after a start")
    return info


def redis_findings(
    role: ServerRole, info: Mapping[str, Any] | None, *, was_full: bool = False
) -> tuple[str, list[ServerFinding]]:
    """Return the detail to show for a Redis without findings, and its findings."""
    percent = None if info is None else memory_percent(info)
    well = "answers" if percent is None else f"answers, {percent} % of its memory is used"
    return well, [] if info is None else findings(role, info, was_full=was_full)


def redis_durability(client: redis.Redis) -> ServerFinding | None:
    """Return what is wrong with how a broker brings writes to its disk, if anything is.

    Raises: redis.RedisError: when the server does not answer.
    """
    with client.pipeline(transaction=False) as pipeline:
        pipeline.config_get("appendfsync")
        # It asks for nothing, so it returns at once.
        pipeline.execute_command("WAITAOF", 0, 0, 1)  # type: ignore[no-untyped-call]
        setting, confirmed = pipeline.execute(raise_on_error=False)
    for answer in (setting, confirmed):
        if isinstance(answer, redis.RedisError) and not isinstance(
            answer, redis.exceptions.ResponseError
        ):
            raise answer
    appendfsync = setting.get("appendfsync") if isinstance(setting, dict) else None
    return durability(appendfsync, confirms=isinstance(confirmed, list))


class RedisProbe:
    """Reads a Redis with INFO."""

    def __init__(self, url: str) -> None:
        self._client = connect(url, TIMEOUT_S, max_connections=1)

    def read(self, *, was_full: bool) -> BrokerReading:
        """Take a reading, see `BrokerProbe`."""
        info = redis_info(self._client)
        well, found = redis_findings("broker", info, was_full=was_full)
        if not any(each.code in ("no_aof", "replica") for each in found):
            found += [each for each in (redis_durability(self._client),) if each is not None]
        return BrokerReading(
            is_full=any(each.code == MEMORY for each in found),
            memory_share=None if info is None else memory_share(info),
            findings=found,
            well=well,
            counters={} if info is None else counters(info),
            server_id=None if info is None else server_id(info),
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class RabbitProbe:
    """Publishes to a RabbitMQ, which notifies publishers when an alarm makes it accept nothing.

    RabbitMQ gives its clients no figures. It raises the alarm at a limit that its operator sets,
    far below the memory of the machine.
    """

    def __init__(self, url: str) -> None:
        amqp_tls.install()
        self._hosts = AmqpHosts(url)
        self._channel: Any = None
        self._has_alarm = False
        self._is_confirmed = False

    def read(self, *, was_full: bool) -> BrokerReading:  # noqa: ARG002 - the broker decides
        """Publish, or wait for the end of the alarm, see `BrokerProbe`."""
        # The connection may have died since the reading before: only a new one gives certainty.
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
        detail = "has a memory or disk alarm and accepts nothing: new transfers are refused"
        return BrokerReading(
            is_full=True, memory_share=1.0, findings=[ServerFinding("alarm", detail, refuses=True)]
        )

    def close(self) -> None:
        """Drop the connection without closing it: a blocked one would not answer."""
        channel, self._channel, self._has_alarm = self._channel, None, False
        if channel is not None and channel.connection is not None:
            channel.connection.collect()

    def _ask(self) -> None:
        if self._channel is None:
            self._channel = self._hosts.connect(self._connect, TIMEOUT_S)
        connection = self._channel.connection
        if self._has_alarm:
            connection.heartbeat_tick()  # raises when the broker's own are missing
            with suppress(TimeoutError):  # no message means that the alarm goes on
                while self._has_alarm:
                    connection.drain_events(timeout=_ALARM_SEEN_WITHIN_S)
            return
        self._is_confirmed = False
        self._channel.basic_publish(amqp.Message(b"", delivery_mode=1), routing_key=_NO_QUEUE)
        give_up_at_s = time.monotonic() + TIMEOUT_S
        while not (self._is_confirmed or self._has_alarm):
            connection.drain_events(timeout=max(give_up_at_s - time.monotonic(), 0.001))

    def _connect(self, host: str, timeout_s: float) -> Any:
        """Connect to a host, with publisher confirms. Returns: the channel."""
        options = {
            "read_timeout": timeout_s,
            "write_timeout": timeout_s,
            "on_blocked": self._on_blocked,
            "on_unblocked": self._on_unblocked,
        }
        client = BrokerConnection(
            host, connect_timeout=timeout_s, heartbeat=_HEARTBEAT_S, transport_options=options
        )
        # Not `connect`: it waits two seconds and retries.
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
