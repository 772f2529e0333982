"""The intake buffer on Redis: a stream keeps the order, a hash keeps the requests.

Guarantees that an entry stays until it is removed: reading a stream takes nothing out, unlike
reading a queue of the Celery transport. Scripts keep stream and hash consistent, since Redis
runs a script as a whole. `put` waits until the broker confirms that it is on its disk (WAITAOF,
from Redis 7.2); on an older broker durability comes from its setting `appendfsync always`.

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
from tasks.buffer.put_log import PutLog

STREAM: Final = "intake"
"""Stream of request ids, one per entry, in the order in which the requests came."""
REQUESTS: Final = "intake:requests"
"""Hash of the encoded requests, by id."""
CLIENTS: Final = "intake:clients"
"""Hash of the number of entries, by client. It is begun again whenever the stream is empty."""
_CHUNK_BYTES: Final = 16 * 1024 * 1024
"""So much is read at once, whatever the entries' number: a stranger may have written large ones."""
_TIMEOUT_S: Final = 2.0
_ON_DISK_WITHIN_MS: Final = 1500
"""Longer than the second between two syncs of `appendfsync everysec`, shorter than the time-out."""
_MAX_CONNECTIONS: Final = 8

# KEYS: stream, hash, counts. ARGV: how many entries may wait, then id, content and client of each.
# Returns: for each what was kept before, false if it is kept now, 1 if there is no room for it.
_PUT = """
local limit, total = tonumber(ARGV[1]), redis.call('XLEN', KEYS[1])
if total == 0 then redis.call('DEL', KEYS[3]) end
local new, clients, seen = {}, {}, {}
for i = 2, #ARGV, 3 do
    local id, client = ARGV[i], ARGV[i + 2]
    if not new[client] then new[client] = 0; clients[#clients + 1] = client end
    if not seen[id] and redis.call('HEXISTS', KEYS[2], id) == 0 then
        seen[id] = true
        new[client] = new[client] + 1
    end
end
local full = {}
for _, client in ipairs(clients) do
    local own = tonumber(redis.call('HGET', KEYS[3], client) or 0)
    local share = math.floor((limit - (total - own) + 1) / 2)
    if total + new[client] > limit or own + new[client] > share then
        full[client] = true
    else
        total = total + new[client]
    end
end
local kept, repeated = {}, nil
for i = 2, #ARGV, 3 do
    local id, client = ARGV[i], ARGV[i + 2]
    local before = redis.call('HGET', KEYS[2], id)
    if before then
        repeated = {id, before}
    elseif full[client] then
        before = 1
    else
        redis.call('HSET', KEYS[2], id, ARGV[i + 1])
        redis.call('XADD', KEYS[1], '*', 'id', id, 'client', client)
        redis.call('HINCRBY', KEYS[3], client, 1)
    end
    kept[#kept + 1] = before
end
-- The wait for the disk goes by the last write: it must not be older than what is repeated here.
if repeated then redis.call('HSET', KEYS[2], repeated[1], repeated[2]) end
return kept
"""

# The content goes only as it was read: `_REPLACE` may have put a genuine one in its place since.
# KEYS: stream, hash, counts. ARGV: of each entry its name, id, client, content (or its beginning)
# and size.
_REMOVE = """
for i = 1, #ARGV, 5 do
    local client = ARGV[i + 2]
    if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 and client ~= '' then
        if redis.call('HINCRBY', KEYS[3], client, -1) <= 0 then
            redis.call('HDEL', KEYS[3], client)
        end
    end
    local content, read = redis.call('HGET', KEYS[2], ARGV[i + 1]), ARGV[i + 3]
    if content and #content == tonumber(ARGV[i + 4]) and content:sub(1, #read) == read then
        redis.call('HDEL', KEYS[2], ARGV[i + 1])
    end
end
"""

# KEYS: stream, hash, counts. ARGV: id, the content that is none of ours, what comes in its place,
# and its client.
_REPLACE = """
if redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[2] then
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
    redis.call('XADD', KEYS[1], '*', 'id', ARGV[1], 'client', ARGV[4])
    redis.call('HINCRBY', KEYS[3], ARGV[4], 1)
end
"""

# Anybody who can write to the broker may have written an entry of any size without a content.
# KEYS: stream, hash. ARGV: how many entries and how many bytes to return, the size of an entry
# that may be ours, where to begin. Returns: of each its name, id, client, content (or its
# beginning) and size.
_FIRST = """
local found, bytes, from = {}, 0, ARGV[4]
while #found < tonumber(ARGV[1]) and bytes < tonumber(ARGV[2]) do
    local page = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 20)
    for _, entry in ipairs(page) do
        local id = entry[2][2]
        local content = redis.call('HGET', KEYS[2], id) or ''
        local size = #content
        if size > tonumber(ARGV[3]) then content = content:sub(1, 1024) end
        local client = entry[2][3] == 'client' and #entry[2][4] <= 36 and entry[2][4] or ''
        found[#found + 1] = {entry[1], #id > 100 and id:sub(1, 100) or id, client, content, size}
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

    def __init__(
        self, broker_url: str, *, key_prefix: str, limit: int, seal: Seal, put_log: PutLog
    ) -> None:
        """Take the broker.

        key_prefix: begins the names of stream and hashes. limit: how many requests may wait.
        seal: authenticates the entries. put_log: notes what was put.
        """
        self._limit = limit
        self._put_log = put_log
        self._seal = seal
        self._stream, self._requests = key_prefix + STREAM, key_prefix + REQUESTS
        self._keys = (self._stream, self._requests, key_prefix + CLIENTS)
        # Blocking: when there are more threads than connections, the others wait.
        self._client = connect(
            broker_url,
            _TIMEOUT_S,
            pool=redis.BlockingConnectionPool,
            timeout=_TIMEOUT_S,
            max_connections=_MAX_CONNECTIONS,
            socket_keepalive=True,
        )
        self._remove = self._client.register_script(_REMOVE)
        self._first = self._client.register_script(_FIRST)

    def put(self, requests: Sequence[Buffered]) -> list[Kept | Unavailable]:
        """Keep the requests; see `ledger.buffer.entries.IntakeBuffer`."""
        contents = [encode(each, self._seal) for each in requests]
        arguments = [
            part
            for each, content in zip(requests, contents, strict=True)
            for part in (str(each.id), content, str(each.request.client.id))
        ]
        kept: Any = self._write(_PUT, [self._limit, *arguments])
        answers = [
            self._answer(each, content, before)
            for each, content, before in zip(requests, contents, kept, strict=True)
        ]
        self._put_log.append_new(answers)
        return answers

    def _write(self, script: str, arguments: list[Any]) -> Any:
        """Run a script that writes, and wait until that is on the broker's disk.

        Raises: Unavailable: when the broker does not confirm it in time, so that it is in doubt.
        """
        with _translated(), self._client.pipeline(transaction=False) as pipeline:
            pipeline.eval(script, len(self._keys), *self._keys, *arguments)
            pipeline.execute_command(  # type: ignore[no-untyped-call]
                "WAITAOF", 1, 0, _ON_DISK_WITHIN_MS
            )
            answer, confirmed = pipeline.execute(raise_on_error=False)
            if isinstance(answer, Exception):
                raise answer
            # A broker that does not know or allow the command cannot confirm; /health says so.
            if isinstance(confirmed, Exception) and not isinstance(
                confirmed, redis.exceptions.ResponseError
            ):
                raise confirmed
        if isinstance(confirmed, list) and not confirmed[0]:
            raise Unavailable("The broker does not confirm that the requests are on its disk.")
        return answer

    def _answer(self, request: Buffered, content: bytes, before: Any) -> Kept | Unavailable:
        match before:
            case None:
                return Kept(request, is_new=True)
            case int():
                return Overloaded("The buffer has no room for more requests of this client.")
            case _:
                return self._known(request, content, before)

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
        client_id = str(request.request.client.id)
        self._write(_REPLACE, [str(request.id), before, content, client_id])
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

    def first(self, limit: int, *, after: Waiting | None = None) -> list[Waiting]:
        """Return the oldest entries, in order."""
        begin = b"-" if after is None else b"(" + cast(tuple[bytes, bytes, bytes], after.ticket)[0]
        arguments: list[int | bytes] = [limit, _CHUNK_BYTES, MAX_ENTRY_BYTES, begin]
        with _translated():
            found: Any = self._first(keys=self._keys, args=arguments)
        return [
            Waiting((name, id, client), content, size) for name, id, client, content, size in found
        ]

    def remove(self, entries: Sequence[Waiting]) -> None:
        """Remove entries from the buffer."""
        if entries:
            arguments = [
                part
                for each in entries
                for part in (
                    *cast(tuple[bytes, bytes, bytes], each.ticket),
                    each.content,
                    each.size_bytes,
                )
            ]
            with _translated():
                self._remove(keys=self._keys, args=arguments)

    def release(self) -> None:
        """Do nothing: reading took nothing out."""

    def count(self) -> int:
        """Return how many requests wait."""
        with _translated():
            return self._client.xlen(self._stream)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._put_log.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except redis.exceptions.OutOfMemoryError as error:
        raise Overloaded("The broker's memory is full.") from error
    except redis.RedisError as error:
        raise Unavailable("The broker is away.") from error
