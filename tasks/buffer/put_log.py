"""Put log: notes in the cache which requests were put into the buffer, so that a loss is noticed.

The buffer cannot tell what it has lost. Guarantees that what is noted here was put by this
installation, and that nothing waits for the cache: while it is away the notes of a process wait in
its memory. A cache that loses the log loses only the ability to notice.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import redis

from ledger.buffer.entries import Kept
from ledger.buffer.seal import Seal
from ledger.errors import Unavailable
from monitoring.logs import get_logger
from resilience.cooldown import Cooldown
from resilience.redis_client import connect

LOG: Final = "intake:put"
"""String of notes. When it is read it is renamed first, since others go on writing."""
READ: Final = f"{LOG}:read"
_ID_BYTES: Final = 16
_NOTE_BYTES: Final = 2 * _ID_BYTES
"""The id of a transfer, and the beginning of its mark."""
_MAX_BYTES: Final = 32 * 1024 * 1024
_MAX_WAITING: Final = 50_000
_TIMEOUT_S: Final = 0.2
_COOLDOWN_S: Final = 2.0

log = get_logger(__name__)

# KEYS: log, log that is read. ARGV: notes, the most bytes to keep.
_APPEND = """
if redis.call('STRLEN', KEYS[1]) + #ARGV[1] <= tonumber(ARGV[2]) then
    redis.call('APPEND', KEYS[1], ARGV[1])
end
"""

# KEYS: log, log that is read. Returns: the notes to look at; they stay until they are forgotten.
_READ = """
if redis.call('EXISTS', KEYS[2]) == 0 and redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('RENAME', KEYS[1], KEYS[2])
end
return redis.call('GET', KEYS[2])
"""


class PutLog:
    """The log of one installation. Safe to use from many threads."""

    def __init__(self, cache_url: str, *, key_prefix: str, seal: Seal) -> None:
        self._keys = (key_prefix + LOG, key_prefix + READ)
        self._seal = seal
        self._cache = connect(cache_url, _TIMEOUT_S)
        self._append = self._cache.register_script(_APPEND)
        self._read = self._cache.register_script(_READ)
        self._cooldown = Cooldown(_COOLDOWN_S)
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque(maxlen=_MAX_WAITING)

    def append_new(self, answers: Sequence[Kept | Unavailable]) -> None:
        """Note which requests were put into the buffer, by the buffer's answers. Never raises."""
        new = [each.buffered.id for each in answers if isinstance(each, Kept) and each.is_new]
        with self._lock:
            self._waiting.extend(self._note(id) for id in new)
            notes = list(self._waiting)
        if notes and self._run(self._append, [b"".join(notes), _MAX_BYTES]) is not None:
            with self._lock:
                for _ in range(min(len(notes), len(self._waiting))):
                    self._waiting.popleft()

    def read(self) -> list[UUID]:
        """Return what was put before now; call `forget` when it is dealt with."""
        text = self._run(self._read, []) or b""
        notes = [text[i : i + _NOTE_BYTES] for i in range(0, len(text), _NOTE_BYTES)]
        ids = [UUID(bytes=note[:_ID_BYTES]) for note in notes if len(note) == _NOTE_BYTES]
        return [id for id, note in zip(ids, notes, strict=False) if self._is_genuine(note)]

    def forget(self) -> None:
        """Delete what `read` returned."""
        if self._cooldown.allows():
            try:
                self._cache.delete(self._keys[1])
            except redis.RedisError as error:
                self._failed(error)

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""
        self._cache.close()

    def _is_genuine(self, note: bytes) -> bool:
        mark = note[_ID_BYTES:].hex()
        return self._seal.is_genuine(note[:_ID_BYTES], mark, length=2 * _ID_BYTES)

    def _note(self, id: UUID) -> bytes:
        return id.bytes + bytes.fromhex(self._seal.mark(id.bytes))[:_ID_BYTES]

    def _run(self, script: Any, arguments: list[Any]) -> Any:
        """Return the script's answer, b"" for none, or None while the cache is away."""
        if not self._cooldown.allows():
            return None
        try:
            answer = script(keys=self._keys, args=arguments)
        except redis.RedisError as error:
            self._failed(error)
            return None
        self._cooldown.end()
        return answer if answer is not None else b""

    def _failed(self, error: redis.RedisError) -> None:
        self._cooldown.start()
        log.warning("put_log_cache_failed", error=type(error).__name__)
