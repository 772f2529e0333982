"""The intake buffer on Redis: a stream keeps the order, a hash keeps the requests.

Guarantees that an entry stays until it is removed: reading a stream takes nothing out, unlike
reading a queue of the Celery transport. Scripts keep stream and hash consistent, since Redis
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

from ledger.buffer.entries import MAX_ENTRY_BYTES, Buffered, Kept, Waiting, decode, encode
from ledger.buffer.seal import Seal
from ledger.errors import NewerFormat, Overloaded, Unavailable, Unreadable
from monitoring.logs import get_logger
from resilience.redis_client import connect

STREAM: Final = "intake"
"""Stream of request ids, one per entry, in the order in which the requests came."""
REQUESTS: Final = "intake:requests"
"""Hash of the encoded requests, by id."""
_CHUNK_BYTES: Final = 16 * 1024 * 1024
"""So much is read at once, whatever the entries' number: a stranger may have written large ones."""
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

# KEYS: stream, hash. ARGV: id, the content that is none of ours, the content in its place.
_REPLACE = """
if redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[2] then
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
    redis.call('XADD', KEYS[1], '*', 'id', ARGV[1])
end
"""

# Anybody who can write to the broker may have written an entry of any size without a content.
# KEYS: stream, hash. ARGV: how many entries and how many bytes to return, the size of an entry
# that may be ours. Returns: of each its name, id, content (or its beginning) and size.
_FIRST = """
local found, bytes, from = {}, 0, '-'
while #found < tonumber(ARGV[1]) and bytes < tonumber(ARGV[2]) do
    local page = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 20)
    for _, entry in ipairs(page) do
        local id = entry[2][2]
        local content = redis.call('HGET', KEYS[2], id) or ''
        local size = #content
        if size > tonumber(ARGV[3]) then content = content:sub(1, 1024) end
        found[#found + 1] = {entry[1], #id > 100 and id:sub(1, 100) or id, content, size}
        bytes = bytes + #content + 100
        if #found == tonumber(ARGV[1]) then break end
    end
    if #page < 20 then break end
    from = '(' .. page[#page][1]
end
return found
"""

log = get_logger(__name__)


class IntakeStream:
    """The buffer shared by all processes of one Redis. It connects on first use."""

    def __init__(self, broker_url: str, *, key_prefix: str, limit: int, seal: Seal) -> None:
        """Take the broker.

        key_prefix: begins the names of stream and hash. limit: how many requests may wait.
        seal: authenticates the entries.
        """
        self._limit = limit
        self._seal = seal
        self._stream, self._requests = key_prefix + STREAM, key_prefix + REQUESTS
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
        self._replace = self._client.register_script(_REPLACE)
        self._first = self._client.register_script(_FIRST)

    def put(self, requests: Sequence[Buffered]) -> list[Kept]:
        """Keep all requests or none; see `ledger.buffer.entries.IntakeBuffer`."""
        contents = [encode(each, self._seal) for each in requests]
        ids = [str(each.id) for each in requests]
        pairs = [part for pair in zip(ids, contents, strict=True) for part in pair]
        with _translated():
            kept: Any = self._put(keys=[self._stream, self._requests], args=[self._limit, *pairs])
        if kept == b"full":
            raise Overloaded("The buffer is full.")
        return [
            Kept(each, is_new=True) if before is None else self._known(each, content, before)
            for each, content, before in zip(requests, contents, kept, strict=True)
        ]

    def _known(self, request: Buffered, content: bytes, before: bytes) -> Kept:
        """Return what is kept under the id; replace it if this installation did not write it."""
        try:
            kept = decode(before, self._seal)
        except NewerFormat:
            return Kept(request, is_new=False)
        except Unreadable:
            kept = None
        if kept is not None and kept.id == request.id:
            return Kept(kept, is_new=False)
        # Or the request would be answered with `buffered`, and never be replayed.
        log.error("buffer_entry_replaced", transfer_id=str(request.id))
        with _translated():
            keys = [self._stream, self._requests]
            self._replace(keys=keys, args=[str(request.id), before, content])
        return Kept(request, is_new=True)

    def find(self, id: UUID) -> Buffered | None:
        """Return the buffered request with this id, or None."""
        with _translated():
            found = cast(bytes | None, self._client.hget(self._requests, str(id)))
        try:
            kept = None if found is None else decode(found, self._seal)
        except NewerFormat as error:
            raise Unavailable("The buffered request cannot be read by this version.") from error
        except Unreadable:
            return None  # somebody else wrote it
        return kept if kept is not None and kept.id == id else None

    def first(self, limit: int) -> list[Waiting]:
        """Return the oldest entries, in order."""
        with _translated():
            keys = [self._stream, self._requests]
            found: Any = self._first(keys=keys, args=[limit, _CHUNK_BYTES, MAX_ENTRY_BYTES])
        return [Waiting((entry, id), content, size) for entry, id, content, size in found]

    def remove(self, entries: Sequence[Waiting]) -> None:
        """Remove entries from the buffer."""
        if entries:
            tickets = [cast(tuple[bytes, bytes], each.ticket) for each in entries]
            with _translated(), self._client.pipeline(transaction=True) as pipeline:
                pipeline.xdel(self._stream, *(entry for entry, _ in tickets))
                pipeline.hdel(self._requests, *(cast(str, id) for _, id in tickets))
                pipeline.execute()

    def release(self) -> None:
        """Do nothing: reading took nothing out."""

    def count(self) -> int:
        """Return how many requests wait."""
        with _translated():
            return self._client.xlen(self._stream)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except redis.exceptions.OutOfMemoryError as error:
        raise Overloaded("The broker's memory is full.") from error
    except redis.RedisError as error:
        raise Unavailable("The broker is away.") from error
