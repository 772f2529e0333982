"""The intake buffer on Redis: a stream keeps the order, a hash keeps the requests.

Guarantees that an entry stays until it is removed: reading a stream takes nothing out, unlike
reading a queue of the Celery transport. Two scripts keep stream and hash consistent, since Redis
runs a script as a whole. Durability comes from the broker's setting `appendfsync always`.

A consumer group would add nothing: one drain at a time reads from the head (XRANGE) and, after
its commit, removes what it read (XDEL).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast
from uuid import UUID

import redis

from ledger.buffer.entries import Buffered, Kept, Waiting, decode, encode
from ledger.errors import Overloaded, Unavailable, Unreadable
from resilience.redis_client import connect

STREAM: Final = "intake"
"""Stream of request ids, one per entry, in the order in which the requests came."""
REQUESTS: Final = "intake:requests"
"""Hash of the encoded requests, by id."""
ASIDE: Final = "intake:aside"
"""Hash of the entries that could not be read, for an operator to look at."""
_TIMEOUT_S: Final = 1.0
_MAX_CONNECTIONS: Final = 8

# KEYS: stream, hash. ARGV: how many entries may wait, then pairs of id and content.
# Returns: for each id the content that was kept before, or false; or "full".
_PUT = """
local new = 0
for i = 2, #ARGV, 2 do
    if redis.call('HEXISTS', KEYS[2], ARGV[i]) == 0 then new = new + 1 end
end
if redis.call('XLEN', KEYS[1]) + new > tonumber(ARGV[1]) then return 'full' end
local kept = {}
for i = 2, #ARGV, 2 do
    local before = redis.call('HGET', KEYS[2], ARGV[i])
    if not before then
        redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
        redis.call('XADD', KEYS[1], '*', 'id', ARGV[i])
    end
    kept[#kept + 1] = before
end
return kept
"""

# KEYS: stream, hash. ARGV: how many to return. Returns: entry, id and content of each.
_FIRST = """
local found = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])) do
    local id = entry[2][2]
    found[#found + 1] = {entry[1], id, redis.call('HGET', KEYS[2], id)}
end
return found
"""


class IntakeStream:
    """The buffer shared by all processes of one Redis. It connects on first use."""

    def __init__(self, broker_url: str, *, key_prefix: str, limit: int) -> None:
        """key_prefix: begins the names of stream and hashes. limit: how many requests may wait."""
        self._limit = limit
        self._stream, self._requests = key_prefix + STREAM, key_prefix + REQUESTS
        self._aside = key_prefix + ASIDE
        # Blocking: when there are more threads than connections, the others wait.
        self._client = connect(
            broker_url,
            _TIMEOUT_S,
            pool=redis.BlockingConnectionPool,
            timeout=_TIMEOUT_S,
            max_connections=_MAX_CONNECTIONS,
            socket_keepalive=True,
        )
        self._put = self._client.register_script(_PUT)
        self._first = self._client.register_script(_FIRST)

    def put(self, requests: Sequence[Buffered]) -> list[Kept]:
        """Keep all requests or none; see `ledger.buffer.entries.IntakeBuffer`."""
        pairs = [part for each in requests for part in (str(each.id), encode(each))]
        with _translated():
            kept: Any = self._put(keys=[self._stream, self._requests], args=[self._limit, *pairs])
        if kept == b"full":
            raise Overloaded("The buffer is full.")
        return [
            Kept(each, is_new=True) if before is None else Kept(_read(before, each), is_new=False)
            for each, before in zip(requests, kept, strict=True)
        ]

    def find(self, id: UUID) -> Buffered | None:
        """Return the buffered request with this id, or None."""
        with _translated():
            found = cast(bytes | None, self._client.hget(self._requests, str(id)))
        try:
            return None if found is None else decode(found)
        except Unreadable as error:
            raise Unavailable("The buffered request cannot be read by this version.") from error

    def first(self, limit: int) -> list[Waiting]:
        """Return the oldest entries, in order."""
        with _translated():
            found: Any = self._first(keys=[self._stream, self._requests], args=[limit])
        return [Waiting((entry, id), content or b"") for entry, id, content in found]

    def remove(self, entries: Sequence[Waiting]) -> None:
        """Remove entries from the buffer."""
        if entries:
            tickets = [cast(tuple[bytes, bytes], each.ticket) for each in entries]
            with _translated(), self._client.pipeline(transaction=True) as pipeline:
                pipeline.xdel(self._stream, *(entry for entry, _ in tickets))
                pipeline.hdel(self._requests, *(id.decode() for _, id in tickets))
                pipeline.execute()

    def release(self) -> None:
        """Do nothing: reading took nothing out."""

    def set_aside(self, entry: Waiting) -> None:
        """Move an entry to ASIDE."""
        name, id = cast(tuple[bytes, bytes], entry.ticket)
        with _translated(), self._client.pipeline(transaction=True) as pipeline:
            pipeline.hset(self._aside, id.decode(), entry.content.decode("latin-1"))
            pipeline.xdel(self._stream, name)
            pipeline.hdel(self._requests, id.decode())
            pipeline.execute()

    def count(self) -> int:
        """Return how many requests wait."""
        with _translated():
            return self._client.xlen(self._stream)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _read(kept: bytes, repeat: Buffered) -> Buffered:
    """Return the kept request, or its repeat if a newer version wrote what is kept."""
    try:
        return decode(kept)
    except Unreadable:
        return repeat


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except redis.exceptions.OutOfMemoryError as error:
        raise Overloaded("The broker's memory is full.") from error
    except redis.RedisError as error:
        raise Unavailable("The broker is away.") from error
