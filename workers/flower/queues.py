"""Flower's page of queues: how many messages wait, on either broker.

Flower itself lists the queues that workers consume, which are none while they pause, and it
needs RabbitMQ's management plugin. Here each of our queues is asked for by its name instead.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from flower.views import BaseHandler  # type: ignore[import-untyped] # it has no types
from kombu.exceptions import OperationalError
from tornado.web import HTTPError

from ledger.errors import Unavailable
from monitoring.logs import get_logger
from settings import Settings
from tasks.broker import queues
from tasks.buffer.intake_buffer import intake_buffer

log = get_logger(__name__)

INTAKE = "intake buffer"


def lengths(app: Any) -> list[dict[str, Any]]:
    """Return the length of each queue under Flower's names; no length for an undeclared queue.

    Raises: Unavailable: when the broker does not answer.
    """
    with app.connection_for_read() as connection:
        try:
            found = [_length(app, connection, name) for name in queues.HINTS]
        except (*connection.connection_errors, OperationalError, OSError) as error:
            raise Unavailable("The broker is away.") from error
    buffer = intake_buffer(Settings.from_environment())
    try:
        waiting = buffer.count()
    finally:
        buffer.close()
    return [*found, {"name": INTAKE, "messages": waiting, "messages_ready": waiting}]


def _length(app: Any, connection: Any, name: str) -> dict[str, Any]:
    # A channel each: asking for a queue that does not exist closes it.
    with connection.channel() as channel:
        try:
            queue = app.amqp.queues[name].bind(channel)
            # On Redis a queue without messages does not exist, and to ask is to declare.
            declared = queue.queue_declare(passive=_is_amqp(connection))
        except connection.channel_errors:
            return {"name": name}
    length = {"name": name, "messages": declared.message_count}
    length["messages_ready"] = declared.message_count
    if _is_amqp(connection):  # Redis does not count consumers
        length["consumers"] = declared.consumer_count
    return length


def _is_amqp(connection: Any) -> bool:
    return bool(connection.transport.driver_type == "amqp")


class _Queues(BaseHandler):  # type: ignore[misc] # it has no types
    async def lengths(self) -> list[dict[str, Any]]:
        """Ask from a thread: the broker may be slow, and the event loop must not wait."""
        loop = self.application.io_loop
        found: list[dict[str, Any]] = await loop.run_in_executor(None, partial(lengths, self.capp))
        return found


class QueuesPage(_Queues):
    """The page `/broker`."""

    async def get(self) -> None:
        """Show the lengths, or an empty list while the broker is away."""
        try:
            found = await self.lengths()
        except Unavailable as error:
            log.warning("queues_not_counted", error=str(error))
            found = []
        self.render("broker.html", broker_url=self.application.broker_uri, queues=found)


class QueueLengths(_Queues):
    """The answer of `/api/queues/length`."""

    async def get(self) -> None:
        """Answer with the lengths."""
        try:
            self.write({"active_queues": await self.lengths()})
        except Unavailable as error:
            raise HTTPError(503, "the broker does not answer") from error
