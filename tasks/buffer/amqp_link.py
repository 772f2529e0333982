"""AMQP link: one connection with one channel to a RabbitMQ, for the intake buffer.

Guarantees that every wait ends, and that a broken link is opened again on a node that answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import kombu
from amqp.exceptions import AMQPError

from ledger.errors import Unavailable
from monitoring.health import amqp_tls
from monitoring.health.amqp_hosts import AmqpHosts

TIMEOUT_S: Final = 1.5
"""For connecting, and for each answer. Half of what a request may wait, since it is tried twice."""


class AmqpLink:
    """One connection with one channel, opened when needed and again after it broke."""

    def __init__(
        self, url: str, declare: Callable[[Any], None], *, confirms: bool, heartbeat_s: int
    ) -> None:
        amqp_tls.install()
        self._hosts = AmqpHosts(url)
        self._heartbeat_s = heartbeat_s
        self._declare = declare
        self._confirms = confirms
        self._lock = threading.Lock()
        self._connection: Any = None
        self.channel: Any = None
        self.published = 0
        """How many messages were published on the open channel."""

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Lock the link. A broker error closes it and is raised as Unavailable."""
        if not self._lock.acquire(timeout=2 * TIMEOUT_S):
            raise Unavailable("The broker is slow: other requests already wait for it.")
        try:
            yield
        except (AMQPError, OSError) as error:
            self.close()
            raise Unavailable("The broker is away.") from error
        finally:
            self._lock.release()

    def retried_once(self, action: Callable[[AmqpLink], Any]) -> Any:
        """Run `action` on the open link, and once more on a new one if the open one is broken."""
        if self.is_open():
            with suppress(AMQPError, OSError):
                return action(self)
            self.close()
        self._open()
        return action(self)

    def is_open(self) -> bool:
        return self.channel is not None

    def close(self) -> None:
        connection, self._connection, self.channel = self._connection, None, None
        if connection is not None:
            connection.collect()  # an orderly close would wait for an answer

    def drain(self, timeout_s: float) -> None:
        """Wait for the broker's next event. Raises: TimeoutError: when none comes."""
        self._connection.drain_events(timeout=timeout_s)

    def _open(self) -> None:
        self._hosts.connect(self._open_on, TIMEOUT_S)

    def _open_on(self, host: str, timeout_s: float) -> None:
        client = kombu.Connection(host, connect_timeout=timeout_s, heartbeat=self._heartbeat_s)
        self._connection = client.transport.establish_connection()
        try:
            self._connection.sock.settimeout(TIMEOUT_S)
            self._declare(self._connection)
            self.channel = self._connection.channel()
            self.channel.auto_decode = False  # a body stays bytes, whatever encoding it claims
            if self._confirms:
                self.channel.confirm_select()
        except BaseException:
            self.close()
            raise
        self.published = 0
