"""Buffer entries: requests kept while the database is away, their format and their buffer.

Guarantees that an entry which somebody else wrote or changed is recognised: it carries a mark
that only this installation's secret can make. An entry names its client by id only; what that
client may do is read in the database at the replay. Knows nothing of Redis or RabbitMQ;
`tasks/buffer` has a buffer on each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import UUID

from ledger.acceptance import TransferRequest, fingerprint
from ledger.buffer.seal import Seal
from ledger.clients import Client
from ledger.errors import NewerFormat, NotAuthentic, Unavailable, Unreadable
from ledger.ids import transfer_id
from ledger.postgres import exact_json

FORMAT: Final = 2
_MAX_SCALE: Final = 18
MAX_ENTRY_BYTES: Final = 32 * 1024
"""Several times what the API's limits on a request allow."""


@dataclass(frozen=True, slots=True)
class Buffered:
    """A request that was answered with `buffered`, and when, by the database's clock."""

    request: TransferRequest
    at: datetime
    content: bytes = field(default=b"", compare=False, repr=False)
    """The entry that it was read from."""

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
    """An entry of the buffer: the broker's name for it, and its bytes. Anybody may have written it.

    Of an entry above MAX_ENTRY_BYTES, which is none of ours, `content` is only the beginning.
    """

    ticket: object
    content: bytes
    size_bytes: int


class IntakeBuffer(Protocol):
    """A durable, bounded, ordered buffer on the broker. Safe to use from many threads."""

    def put(self, requests: Sequence[Buffered]) -> list[Kept | Unavailable]:
        """Keep the requests; an id that is kept already is not kept twice.

        A client may have half of the room that the others leave. Its new requests of one call
        are all kept, or none of them.
        Returns once they are on the broker's disk: per request, in order, the kept one, or
        Overloaded where there is no room for its client, so that it is certainly not kept.
        Raises: Unavailable: when the broker is away; some may be kept nevertheless, which does
        no harm, because a repeat has the same id.
        """

    def find(self, id: UUID) -> Buffered | None:
        """Return the request with this id. Raises: Unavailable: when the broker is away."""

    def first(self, limit: int, *, after: Waiting | None = None) -> list[Waiting]:
        """Return the entries that have waited longest, in the order in which they came.

        after: the last entry of the call before; goes on behind it.
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

    def count(self) -> int:
        """Return the number of entries. Raises: Unavailable: when the broker is away."""

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""


def encode(buffered: Buffered, seal: Seal) -> bytes:
    """Return a buffered request as the entry that `decode` reads.

    An entry is JSON, so that every version can read its format. Its mark covers the format and
    everything behind the mark, byte by byte.
    """
    request = buffered.request
    document = {
        "installation": seal.installation_id,
        "at": buffered.at.isoformat(),
        "client": str(request.client.id),
        "key": request.idempotency_key,
        "source": str(request.source_id),
        "destination": str(request.destination_id),
        "asset": request.asset,
        "scale": request.scale,
        "amount": request.amount_minor,
        "reference": request.reference,
        "metadata": request.metadata,
        "api_key": request.key_id and str(request.key_id),
    }
    marked = exact_json.dumps(document).encode()[1:]
    mark = seal.mark(_marked(FORMAT, marked))
    return f'{{"format":{FORMAT},"mark":"{mark}",'.encode() + marked


_ENTRY = re.compile(rb'\{"format":([0-9]{1,4}),"mark":"([0-9a-f]{64})",(.*)', re.DOTALL)


def _marked(format_number: int, rest: bytes) -> bytes:
    return b"%d\0%b" % (format_number, rest)


def decode(content: bytes, seal: Seal) -> Buffered:
    """Return the buffered request that `encode` wrote.

    Raises: NotAuthentic: when this installation did not write it. NewerFormat: when a newer
    version of it did. Unreadable: when it is genuine, but no request.
    """
    if len(content) > MAX_ENTRY_BYTES or not (found := _ENTRY.fullmatch(content)):
        raise NotAuthentic
    format_number, mark, rest = int(found[1]), found[2].decode(), found[3]
    if not seal.is_genuine(_marked(format_number, rest), mark):
        raise NotAuthentic
    if format_number > FORMAT:
        raise NewerFormat
    try:
        document = exact_json.loads(b"{" + rest)
        if format_number != FORMAT or document["installation"] != seal.installation_id:
            raise Unreadable
        return _buffered(document, UUID(document["client"]), content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Unreadable from error


def is_unsigned(content: bytes) -> bool:
    """Return whether an entry looks like one of version 1.0.0, which carried no mark."""
    return content.startswith(b'{"format":1,')


def decode_unverified(content: bytes) -> Buffered:
    """Return the request in an entry of any format, which anybody may have written.

    Raises: Unreadable: when it is no request.
    """
    try:
        document = exact_json.loads(content)
        client = document["client"]
        client_id = UUID(client[0] if document["format"] == 1 else client)
        return _buffered(document, client_id, content)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise Unreadable from error


_FIELD_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "key": (str,),
    "scale": (int,),
    "amount": (int,),
    "asset": (str,),
    "reference": (str, type(None)),
    "metadata": (dict, type(None)),
}
"""The others are read from texts, which fails for anything else."""


def _buffered(document: dict[str, Any], client_id: UUID, content: bytes) -> Buffered:
    if not all(type(document[name]) in types for name, types in _FIELD_TYPES.items()):
        raise Unreadable
    key, scale, amount_minor = document["key"], document["scale"], document["amount"]
    if not 0 <= scale <= _MAX_SCALE or amount_minor <= 0:
        raise Unreadable
    key.encode()  # the id is made of it; half a character is a ValueError here
    request = TransferRequest(
        # Without any right: the replay puts the client of the database in its place.
        client=Client(client_id, "", "client", None),
        idempotency_key=key,
        source_id=UUID(document["source"]),
        destination_id=UUID(document["destination"]),
        asset=document["asset"],
        scale=scale,
        amount_minor=amount_minor,
        reference=document["reference"],
        metadata=document["metadata"],
        key_id=None if document.get("api_key") is None else UUID(document["api_key"]),
    )
    at = datetime.fromisoformat(document["at"])
    try:
        return Buffered(request, at.astimezone(UTC), content)
    except OverflowError as error:  # before year 1, or after 9999, in UTC
        raise Unreadable from error
