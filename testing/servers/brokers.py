"""Brokers of both kinds, Redis and RabbitMQ, that a test can inspect, empty, fill and break."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import amqp
import pytest
import redis

from stack.servers.home import Home, find_home
from stack.servers.ports import free_port
from stack.servers.valkey import BROKER_ROLE, Valkey
from tasks.broker import queues
from tasks.buffer import rabbitmq_queue, redis_stream
from testing.identity import KEY_PREFIX, QUEUE_PREFIX
from testing.servers.breakable import Breakable, breakable
from testing.servers.rabbitmq import RabbitMQ
from testing.worker_processes import eventually

KINDS = ("redis", "rabbitmq")
_MEMORY = "32mb"
_SIZES = (1_000_000, 10_000, 100, 1)
_PIECES = 200
"""More of one size fit only when the server has freed memory in between."""


class Broker(Protocol):
    """A real broker that a test may control."""

    @property
    def process(self) -> Breakable: ...

    @property
    def url(self) -> str: ...

    def waiting(self, queue: str) -> int:
        """Return how many messages of the queue no worker has taken yet."""

    def unacknowledged(self) -> int:
        """Return about how many messages workers have taken and not acknowledged."""

    def purge(self, queue: str) -> int:
        """Delete the messages that no worker has taken yet. Returns: how many."""

    def empty(self) -> None:
        """Delete everything, including the queues themselves where the broker allows it."""

    def names(self) -> set[str]:
        """Return the names of everything on it: keys, or queues and exchanges."""

    def fill(self) -> None:
        """Use up the memory, so that nothing can be published any more."""

    def make_room(self) -> None:
        """Free what `fill` took."""

    def forge(
        self, entry_id: str, content: bytes, *, is_named: bool = True, times: int = 1
    ) -> None:
        """Write an entry into the intake buffer, as a stranger with access to the broker can.

        is_named: into ours, not that of version 1.0.0. times: so many entries, with other ids.
        """

    def delete_unnamed(self) -> None:
        """Delete the buffer of version 1.0.0."""


class RedisBroker:
    """A Redis with little memory, so that it can be filled quickly."""

    def __init__(self, process: Breakable) -> None:
        self.process = process
        self.client = redis.Redis.from_url(process.url, socket_timeout=5)

    @property
    def url(self) -> str:
        return self.process.url

    def waiting(self, queue: str) -> int:
        return int(self.client.llen(KEY_PREFIX + queue))

    def unacknowledged(self) -> int:
        return int(self.client.hlen(f"{KEY_PREFIX}unacked"))

    def purge(self, queue: str) -> int:
        with self.client.pipeline() as both:
            both.llen(KEY_PREFIX + queue)
            both.delete(KEY_PREFIX + queue)
            return int(both.execute()[0])

    def empty(self) -> None:
        self.client.flushall()

    def names(self) -> set[str]:
        return {key.decode() for key in self.client.scan_iter(count=1000)}

    def fill(self) -> None:
        # First large pieces, then smaller and smaller ones, until nothing fits. The server frees
        # the buffer of a large command seconds later; then it starts with large ones again.
        size = 0
        while size < len(_SIZES):
            try:
                for _ in range(_PIECES):
                    self.client.rpush("filler", bytes(_SIZES[size]))
            except redis.exceptions.OutOfMemoryError:
                size += 1
            else:
                size = max(size - 1, 0)

    def make_room(self) -> None:
        self.client.delete("filler")
        # Valkey frees a large value in the background, and counts it as used until then.
        eventually(lambda: self.client.info("memory")["lazyfree_pending_objects"] == 0)

    def forge(
        self, entry_id: str, content: bytes, *, is_named: bool = True, times: int = 1
    ) -> None:
        prefix = KEY_PREFIX if is_named else "truepenny:"
        with self.client.pipeline() as pipeline:
            for number in range(times):
                id = f"{entry_id}-{number}" if number else entry_id
                pipeline.hset(prefix + redis_stream.REQUESTS, id, content)
                pipeline.xadd(prefix + redis_stream.STREAM, {"id": id})
            pipeline.execute()

    def delete_unnamed(self) -> None:
        self.client.delete("truepenny:intake", "truepenny:intake:requests")


class RabbitBroker:
    """A RabbitMQ, whose memory is full when its limit is below what it uses."""

    def __init__(self, server: RabbitMQ, process: Breakable) -> None:
        self._server = server
        self.process = process

    @property
    def url(self) -> str:
        return self.process.url

    def waiting(self, queue: str) -> int:
        def count(channel: amqp.Channel) -> int:
            answer: Any = channel.queue_declare(QUEUE_PREFIX + queue, passive=True)
            return int(answer.message_count)

        return self._ask(count)

    def unacknowledged(self) -> int:
        return self._server.unacknowledged()

    def purge(self, queue: str) -> int:
        return self._ask(lambda channel: channel.queue_purge(QUEUE_PREFIX + queue))

    def empty(self) -> None:
        # Not deleted: where quorum queues are deleted and declared again and again, RabbitMQ
        # 3.10 may refuse that name (`cluster_not_formed`) until it is restarted.
        try:
            for name in (*queues.HINTS, rabbitmq_queue.QUEUE):
                self.purge(name)
        except (OSError, amqp.AMQPError):
            # A queue that came back dead after a kill (see workers/queue_repair.py) cannot be
            # emptied, and without a worker nothing replaces it.
            self.process.kill()
            self._server.forget()
            self.process.start()

    def names(self) -> set[str]:
        return self._server.names()

    def fill(self) -> None:
        self._server.limit_memory("1")

    def make_room(self) -> None:
        self._server.limit_memory()

    def forge(
        self,
        entry_id: str,  # noqa: ARG002 - a queue knows no ids
        content: bytes,
        *,
        is_named: bool = True,
        times: int = 1,
    ) -> None:
        message = amqp.Message(content, delivery_mode=2)
        name = (QUEUE_PREFIX if is_named else "") + rabbitmq_queue.QUEUE

        def publish(channel: amqp.Channel) -> int:
            if not is_named:
                channel.queue_declare(name, durable=True, auto_delete=False)
            for _ in range(times - 1):
                channel.basic_publish(message, routing_key=name)
            channel.basic_publish_confirm(message, routing_key=name)
            return 0

        self._ask(publish)

    def delete_unnamed(self) -> None:
        self._ask(lambda channel: channel.queue_delete(rabbitmq_queue.QUEUE))

    def connections_without_consumer(self) -> set[str]:
        """Return the names, in RabbitMQ, of the connections that only publish."""
        return self._server.connections_without_consumer()

    def connect(self) -> amqp.Connection:
        """Open a plain connection; `with` closes it."""
        return self._server.connect()

    def close_connection(self, name: str) -> None:
        """Close one connection from the server's side."""
        self._server.close_connection(name)

    def _ask(self, question: Callable[[amqp.Channel], Any]) -> int:
        """Ask on a new channel: asking about a missing queue closes the channel."""
        with self._server.connect() as connection:
            try:
                return int(question(connection.channel()) or 0)
            except amqp.NotFound:
                return 0


@pytest.fixture(scope="session")
def brokers_place(servers_folder: Path) -> Home:
    folder = servers_folder / "brokers"
    folder.mkdir(mode=0o711)
    return find_home(folder, say=print)


@pytest.fixture(scope="session")
def redis_broker(brokers_place: Home, servers_folder: Path) -> Iterator[RedisBroker]:
    with own_redis(brokers_place, servers_folder / "breakable-redis.log") as broker:
        yield broker


@pytest.fixture(scope="session")
def rabbit_broker(brokers_place: Home, servers_folder: Path) -> Iterator[RabbitBroker]:
    with own_rabbitmq(brokers_place, servers_folder / "rabbitmq.log") as broker:
        yield broker


@pytest.fixture(scope="module", params=KINDS)
def broker(request: pytest.FixtureRequest) -> Broker:
    """Run the module once per kind of broker, each empty at the start."""
    found: Broker = request.getfixturevalue(
        {"redis": "redis_broker", "rabbitmq": "rabbit_broker"}[request.param]
    )
    found.empty()
    return found


@contextmanager
def own_redis(place: Home, log: Path) -> Iterator[RedisBroker]:
    role = BROKER_ROLE.replace("512mb", _MEMORY)
    server = Valkey("breakable-redis", role, place, free_port(), secrets.token_urlsafe())
    with breakable(server, log) as process:
        yield RedisBroker(process)


@contextmanager
def own_rabbitmq(place: Home, log: Path, *, name: str = "rabbitmq") -> Iterator[RabbitBroker]:
    ports = (free_port(), free_port(), free_port())
    server = RabbitMQ(place, *ports, secrets.token_urlsafe(), name)
    with breakable(server, log) as process:
        yield RabbitBroker(server, process)
