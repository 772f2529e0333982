"""Flower's page of queues, right for either broker and in any hour.

Flower itself lists what workers say they consume, which is nothing while they pause; and it
needs RabbitMQ's management plugin. Here all our queues are asked for by name, as a client can.
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
from tasks import queues
from tasks.intake_buffer import intake_buffer

log = get_logger(__name__)

INTAKE = "intake buffer"


def lengths(app: Any) -> list[dict[str, Any]]:
    """What waits in each queue, in Flower's words; None where a queue was never declared.

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
    # A channel each: to ask after what is not there closes it.
    with connection.channel() as channel:
        try:
            declared = app.amqp.queues[name].bind(channel).queue_declare(passive=True)
        except connection.channel_errors:
            return {"name": name}
    told = {"name": name, "messages": declared.message_count}
    told["messages_ready"] = declared.message_count
    if connection.transport.driver_type == "amqp":  # Redis knows of no consumers
        told["consumers"] = declared.consumer_count
    return told


class _Queues(BaseHandler):  # type: ignore[misc] # it has no types
    async def lengths(self) -> list[dict[str, Any]]:
        """Ask beside the event loop, for the broker may take its time."""
        loop = self.application.io_loop
        found: list[dict[str, Any]] = await loop.run_in_executor(None, partial(lengths, self.capp))
        return found


class QueuesPage(_Queues):
    """`/broker`."""

    async def get(self) -> None:
        """Show what waits, or nothing while the broker is away."""
        try:
            found = await self.lengths()
        except Unavailable as error:
            log.warning("queues_not_counted", error=str(error))
            found = []
        self.render("broker.html", broker_url=self.application.broker_uri, queues=found)


class QueueLengths(_Queues):
    """`/api/queues/length`."""

    async def get(self) -> None:
        """Tell what waits."""
        try:
            self.write({"active_queues": await self.lengths()})
        except Unavailable as error:
            raise HTTPError(503, "the broker does not answer") from error
