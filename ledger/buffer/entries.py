"""Buffer entries: requests kept while the database is away, their format and their buffer.

Guarantees that a buffered request is complete: it contains its client as known at the time of
the call, so that a later replay decides as the database would have decided then. Knows
nothing of Redis or RabbitMQ; `tasks/buffer` has a buffer on each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from ledger.acceptance import TransferRequest, fingerprint
from ledger.clients import Client
from ledger.errors import NewerFormat, Unreadable
from ledger.ids import transfer_id

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Buffered:
    """A request that was answered with `buffered`, and the time of that, by the API's clock."""

    request: TransferRequest
    at: datetime

    @property
    def id(self) -> UUID:
        """The id of the transfer that the request will become."""
        return transfer_id(self.request.client.id, self.request.idempotency_key)

    def is_repeated_by(self, request: TransferRequest) -> bool:
        """Return whether another request with this key asks for the same."""
        return fingerprint(self.request) == fingerprint(request)


@dataclass(frozen=True, slots=True)
class Kept:
    """The buffer's request under an id after `put`: the first one with this id."""

    buffered: Buffered
    is_new: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry of the buffer: the broker's name for it, and the bytes from `encode`."""

    ticket: object
    content: bytes


class IntakeBuffer(Protocol):
    """A durable, bounded, ordered buffer on the broker. Safe to use from many threads."""

    def put(self, requests: Sequence[Buffered]) -> list[Kept]:
        """Keep all of the requests, or none; an id that is kept already is not kept twice.

        Returns once they are on the broker's disk: per request, in order, the kept one.
        Raises: Overloaded: when there is no room. Unavailable: when the broker is away; some
        may be kept nevertheless, which does no harm, because a repeat has the same id.
        """

    def find(self, id: UUID) -> Buffered | None:
        """Return the request with this id. Raises: Unavailable: when the broker is away."""

    def first(self, limit: int) -> list[Waiting]:
        """Return the entries that have waited longest, in the order in which they came.

        Raises: Unavailable: when the broker is away.
        """

    def remove(self, entries: Sequence[Waiting]) -> None:
        """Remove entries, after their result is committed. Harmless to repeat.

        Raises: Unavailable: when the broker is away; they will be replayed again.
        """

    def release(self) -> None:
        """Give back the entries that `first` returned and that were not removed. Never raises.

        Call it whenever a drain ends: some brokers deliver them to no other worker before that.
        """

    def set_aside(self, entry: Waiting) -> None:
        """Move an entry that cannot be read to the place for an operator to look at.

        Raises: Unavailable: when the broker is away; it stays where it was.
        """

    def count(self) -> int:
        """Return the number of entries. Raises: Unavailable: when the broker is away."""

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""


def encode(buffered: Buffered) -> bytes:
    """Return a buffered request as the JSON that `decode` reads."""
    request, client = buffered.request, buffered.request.client
    document = {
        "format": FORMAT,
        "at": buffered.at.isoformat(),
        "client": [str(client.id), client.name, client.scope, client.rate_limit],
        "key": request.idempotency_key,
        "source": str(request.source_id),
        "destination": str(request.destination_id),
        "asset": request.asset,
        "scale": request.scale,
        "amount": request.amount_minor,
        "reference": request.reference,
        "metadata": request.metadata,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def decode(content: bytes) -> Buffered:
    """Return the buffered request that `encode` wrote.

    Raises: NewerFormat: when a newer version wrote it. Unreadable: when it is anything else.
    """
    try:
        document = json.loads(content)
        if document["format"] != FORMAT:
            raise NewerFormat if document["format"] > FORMAT else Unreadable
        return Buffered(_request(document), datetime.fromisoformat(document["at"]))
    except (ValueError, TypeError, KeyError) as error:
        raise Unreadable from error


def _request(document: dict[str, Any]) -> TransferRequest:
    client_id, name, scope, rate_limit = document["client"]
    return TransferRequest(
        client=Client(UUID(client_id), name, scope, rate_limit),
        idempotency_key=document["key"],
        source_id=UUID(document["source"]),
        destination_id=UUID(document["destination"]),
        asset=document["asset"],
        scale=document["scale"],
        amount_minor=document["amount"],
        reference=document["reference"],
        metadata=document["metadata"],
    )
