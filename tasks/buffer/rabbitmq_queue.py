"""The intake buffer on RabbitMQ: a durable quorum queue with publisher confirms.

Guarantees that `put` returns only after the queue has confirmed every message, and that a
message leaves the queue only when it is acknowledged, after the database's commit. Celery is
not involved: the messages are requests, not tasks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final
from uuid import UUID

from amqp import Message
from amqp.exceptions import NotFound

from ledger.buffer.entries import MAX_ENTRY_BYTES, Buffered, Kept, Waiting, decode, encode
from ledger.buffer.seal import Seal
from ledger.errors import Overloaded, Unavailable, Unreadable
from monitoring.logs import get_logger
from resilience.outage_log import OutageLog
from tasks.buffer.amqp_link import TIMEOUT_S, AmqpLink
from tasks.buffer.client_shares import ClientShares
from tasks.buffer.put_log import PutLog
from tasks.buffer.receipts import Receipts

log = get_logger(__name__)

QUEUE: Final = "intake"
_NO_MORE_AFTER_S: Final = 0.1
"""A consumer that gets nothing for so long has got all there is."""
_CHUNK_BYTES: Final = 16 * 1024 * 1024
"""So much is read at once, whatever the number of messages."""
_HEAD_BYTES: Final = 1024
"""So much is kept of a message that is too large to be ours."""
_PERSISTENT: Final = 2
_CONSUMING_HEARTBEAT_S: Final = 20
"""Within twice this RabbitMQ notices that a machine is gone, and returns its messages to the queue;
until then nobody drains. A drain sends more often, unless a commit takes so long: then its link
ends, and the drain is repeated."""
_LOOKS_FOR_OTHERS: Final = 10
_LOOKS_AGAIN_AFTER_S: Final = 0.05
_MANY_DELIVERIES: Final = 2**31 - 1
"""Effectively unlimited: the drain isolates a request that fails, RabbitMQ must not drop it."""


class IntakeQueue:
    """The buffer shared by all processes of one RabbitMQ. It connects on first use."""

    def __init__(
        self,
        broker_url: str,
        *,
        queue_prefix: str,
        limit: int,
        seal: Seal,
        receipts: Receipts,
        shares: ClientShares,
        put_log: PutLog,
    ) -> None:
        """Take the broker.

        queue_prefix: begins the name of the queue; without one, it is not made if it is missing.
        limit: how many requests may wait.
        seal: authenticates the entries. shares: counts them by client. put_log: notes what was put.
        """
        self._limit = limit
        self._queue = queue_prefix + QUEUE
        self._is_made = bool(queue_prefix)
        self._put_log = put_log
        self._shares = shares
        self._seal = seal
        self._receipts = receipts
        # No heartbeats: nothing would send them while the link is idle.
        self._publishing = AmqpLink(broker_url, self._declare, confirms=True, heartbeat_s=0)
        self._consuming = AmqpLink(
            broker_url, self._declare, confirms=False, heartbeat_s=_CONSUMING_HEARTBEAT_S
        )
        self._inbox = _Inbox()
        self._elsewhere = OutageLog(
            log, "intake_held_elsewhere", "intake_free_again", repeats=True, count_as="tries"
        )
        self._held: set[int] = set()
        """Delivery tags of the messages that `first` returned and that are not removed yet."""

    def put(self, requests: Sequence[Buffered]) -> list[Kept | Unavailable]:
        """Keep the requests; see `ledger.buffer.entries.IntakeBuffer`.

        A repeated request is kept again, which is harmless: a receipt says which request a key
        stands for, not that the queue still holds it.
        """
        known = self._receipts.find([each.id for each in requests])
        new: dict[UUID, Buffered] = {}
        for each in requests:
            # A known key with other content will be answered with an error, so it is not kept.
            if each.id not in known or known[each.id].is_repeated_by(each.request):
                new.setdefault(each.id, each)
        refused = self._without_room(new.values())
        kept = [each for each in new.values() if each.request.client.id not in refused]
        contents = [encode(known.get(each.id, each), self._seal) for each in kept]
        try:
            with self._publishing.in_use():
                self._publishing.retried_once(lambda link: _publish(link, self._queue, contents))
        except Unavailable:
            # Some may be in the queue. They are not counted, or each repeat would count them again.
            self._shares.give_back(Counter(each.request.client.id for each in kept))
            raise
        self._receipts.write([each for each in kept if each.id not in known])
        answers = [self._answer(each, new, known, refused) for each in requests]
        self._put_log.append_new(answers)
        return answers

    def _without_room(self, requests: Collection[Buffered]) -> set[UUID]:
        """Return the clients that have no room for these requests."""
        with self._publishing.in_use():
            waiting, _ = self._publishing.retried_once(lambda link: _look(link, self._queue))
        counts = Counter(each.request.client.id for each in requests)
        return self._shares.refused(counts, waiting=waiting)

    def _answer(
        self,
        request: Buffered,
        new: dict[UUID, Buffered],
        known: dict[UUID, Buffered],
        refused: set[UUID],
    ) -> Kept | Unavailable:
        is_known = request.id in known
        if request.id in new and request.request.client.id in refused:
            full = "The buffer has no room for more requests of this client."
            # The queue may hold a known one already, so it is not certain that it is not kept.
            return Unavailable(full) if is_known else Overloaded(full)
        if is_known:
            return Kept(known[request.id], is_new=False)
        return Kept(known.setdefault(request.id, new[request.id]), is_new=True)

    def find(self, id: UUID) -> Buffered | None:
        """Return the request with this id, or None if there is no receipt of it."""
        return self._receipts.find([id]).get(id)

    def first(self, limit: int, *, after: Waiting | None = None) -> list[Waiting]:
        """Return the oldest entries; this process holds them until they are removed or released.

        While another process holds some, there are none for this one: they come before the rest.
        """
        if after is None and (self._held or limit != self._inbox.limit):
            self.release()
        with self._consuming.in_use():
            messages = self._consuming.retried_once(lambda link: self._take(link, limit))
        self._held |= {message.delivery_tag for message in messages}
        return [
            Waiting(each.delivery_tag, _beginning(each.body), len(each.body)) for each in messages
        ]

    def remove(self, entries: Sequence[Waiting]) -> None:
        """Acknowledge entries."""
        with self._consuming.in_use():
            for entry in entries:
                self._acknowledge(entry)
        removed = []
        for entry in entries:
            with suppress(Unreadable):  # it was set aside, and has no receipt
                removed.append(decode(entry.content, self._seal))
        self._receipts.remove([each.id for each in removed])
        self._shares.give_back(Counter(each.request.client.id for each in removed))

    def release(self) -> None:
        """Return the held messages to the queue, by closing the link that holds them."""
        if self._inbox.is_last and not self._held and self._inbox.is_open_on(self._consuming):
            # So that the queue knows at once. Else the answer would come behind many messages.
            with suppress(Unavailable), self._consuming.in_use():
                self._consuming.channel.basic_cancel(self._inbox.consumer_tag)
        self._consuming.close()
        self._held = set()

    def count(self) -> int:
        """Return how many requests wait; if there are only some that another process holds, 1."""
        with self._publishing.in_use():
            waiting, holders = self._publishing.retried_once(lambda link: _look(link, self._queue))
        # The broker may have forgotten our own consumer before we notice that its link is broken.
        others = holders - self._inbox.is_open_on(self._consuming)
        return int(waiting or others > 0)

    def close(self) -> None:
        """Close the connections; held messages return to the queue."""
        self.release()
        with self._publishing.in_use():
            self._publishing.close()
        self._receipts.close()
        self._shares.close()
        self._put_log.close()

    def _take(self, link: AmqpLink, limit: int) -> list[Any]:
        """Return up to `limit` messages, unacknowledged, as fast as the broker pushes them.

        It stops early at _CHUNK_BYTES: a stranger may have written large messages.
        """
        if not self._inbox.is_open_on(link):
            if not self._is_alone(link):
                return []
            self._inbox = _Inbox(link.channel, limit)
            # Of a queue that is only looked through, all that is behind comes without an answer.
            link.channel.basic_qos(0, limit if self._is_made else 0, a_global=False)
            tag = link.channel.basic_consume(self._queue, callback=self._inbox.add)
            self._inbox.consumer_tag = tag
        self._inbox.is_last = False
        try:
            while len(self._inbox.messages) < limit and self._inbox.size_bytes < _CHUNK_BYTES:
                link.drain(_NO_MORE_AFTER_S)
        except TimeoutError:  # the queue is empty
            self._inbox.is_last = True
        return self._inbox.take()

    def _is_alone(self, link: AmqpLink) -> bool:
        """Return whether no other process holds messages. One that has just ended may seem to."""
        for _ in range(_LOOKS_FOR_OTHERS):
            if not _look(link, self._queue)[1]:
                self._elsewhere.recovered()
                return True
            time.sleep(_LOOKS_AGAIN_AFTER_S)
        self._elsewhere.failed(queue=self._queue)
        return False

    def _acknowledge(self, entry: Waiting) -> None:
        # On a new link the tag would name another message, and the old one is back in the queue.
        tag = entry.ticket
        if isinstance(tag, int) and tag in self._held and self._consuming.is_open():
            self._consuming.channel.basic_ack(tag)
            self._held.discard(tag)

    def _declare(self, connection: Any) -> None:
        if not self._is_made:
            return
        # `put` enforces the limit for whole batches. This bound is for processes that count at
        # the same time: it refuses single messages, and so may accept a part of a batch.
        bounded = {"x-max-length": 2 * self._limit, "x-overflow": "reject-publish"}
        _declare_quorum(connection, self._queue, bounded | {"x-delivery-limit": _MANY_DELIVERIES})


def _declare_quorum(connection: Any, name: str, arguments: dict[str, Any]) -> None:
    """Declare the queue if it is missing. An existing one keeps the bounds it was made with."""
    try:
        # A declaration that fails closes its channel, so each has a channel of its own.
        connection.channel().queue_declare(name, passive=True)
    except NotFound:
        connection.channel().queue_declare(
            name,
            durable=True,
            auto_delete=False,
            arguments={"x-queue-type": "quorum"} | arguments,
        )


def _look(link: AmqpLink, queue: str) -> tuple[int, int]:
    """Return how many messages wait, and how many consumers may hold some."""
    declared = link.channel.queue_declare(queue, passive=True)
    return int(declared.message_count), int(declared.consumer_count)


def _publish(link: AmqpLink, queue: str, contents: Sequence[bytes]) -> None:
    """Publish to a queue and wait until each message is confirmed.

    Raises: Unavailable: when the queue refuses one. TimeoutError: when a confirm is missing.
    """
    confirms = _Confirms()
    with confirms.heard_on(link.channel):
        for content in contents:
            message = Message(content, delivery_mode=_PERSISTENT)
            link.channel.basic_publish(message, routing_key=queue)
            link.published += 1
            confirms.open.add(link.published)
        deadline_s = time.monotonic() + TIMEOUT_S * (1 + len(contents) / 1000)
        while confirms.open:
            link.drain(max(deadline_s - time.monotonic(), 0.001))
    if confirms.refused:  # not Overloaded, which would mean that nothing was kept
        raise Unavailable("The broker refused a part of the requests.")


class _Confirms:
    """The messages that a channel has yet to confirm, by their sequence numbers."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.refused = 0

    @contextmanager
    def heard_on(self, channel: Any) -> Iterator[None]:
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        try:
            yield
        finally:
            channel.events["basic_ack"].discard(self._on_ack)
            channel.events["basic_nack"].discard(self._on_nack)

    def _on_ack(self, number: int, multiple: bool) -> None:  # noqa: FBT001 - amqp's signature
        self.open = (
            {each for each in self.open if each > number} if multiple else (self.open - {number})
        )

    def _on_nack(self, number: int, multiple: bool) -> None:  # noqa: FBT001 - amqp's signature
        before = len(self.open)
        self._on_ack(number, multiple)
        self.refused += before - len(self.open)


def _beginning(body: bytes) -> bytes:
    return body if len(body) <= MAX_ENTRY_BYTES else body[:_HEAD_BYTES]


class _Inbox:
    """The messages that the broker has pushed to a consumer, and that are not taken yet.

    The consumer stays as long as its link, so the queue shows that messages may be held: it forgets
    the consumer of a link that is gone when it takes the messages of that link back.
    """

    def __init__(self, channel: Any = None, limit: int = 0) -> None:
        """channel: of the consumer. limit: how many messages it holds at most."""
        self._channel = channel
        self.limit = limit
        self.consumer_tag = ""
        self.is_last = False
        """Whether the queue had no more than what was taken last."""
        self.messages: list[Any] = []
        self.size_bytes = 0

    def is_open_on(self, link: AmqpLink) -> bool:
        return self._channel is not None and self._channel is link.channel

    def add(self, message: Any) -> None:
        message.body = message.body or b""
        self.messages.append(message)
        self.size_bytes += len(message.body)

    def take(self) -> list[Any]:
        taken, self.messages, self.size_bytes = self.messages, [], 0
        return taken
