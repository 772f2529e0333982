"""Client shares: how many requests each client has in RabbitMQ's queue, counted in the cache.

RabbitMQ cannot count by client. Guarantees that one client gets at most half of the room that the
others leave, over all processes. While the cache is away each process counts what it has put
itself, against its part of that share.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import redis

from monitoring.logs import get_logger
from resilience.cooldown import Cooldown
from resilience.redis_client import connect

COUNTS: Final = "intake:clients"
"""Hash of the number of waiting requests, by client."""
GRANTED: Final = f"{COUNTS}:granted"
"""Exists for a while after requests were granted."""
_KEPT_FOR_S: Final = 86_400
_TIMEOUT_S: Final = 0.2
_COOLDOWN_S: Final = 2.0

log = get_logger(__name__)

# The counts begin again with an empty queue, but not while what was granted is still on its way.
# KEYS: counts, granted lately. ARGV: how many wait in the queue, the limit, the time to keep, then
# client and number of new requests of each. Returns: for each 1 if there is room for them (then
# they count), else 0.
_GRANT = """
local total, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
if total == 0 and redis.call('EXISTS', KEYS[2]) == 0 then redis.call('DEL', KEYS[1]) end
local counted = 0
for _, count in ipairs(redis.call('HVALS', KEYS[1])) do counted = counted + tonumber(count) end
if counted > total then total = counted end
local granted = {}
for i = 4, #ARGV, 2 do
    local new = tonumber(ARGV[i + 1])
    local own = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or 0)
    local share = math.floor((limit - (total - own) + 1) / 2)
    if total + new > limit or own + new > share then
        granted[#granted + 1] = 0
    else
        redis.call('HINCRBY', KEYS[1], ARGV[i], new)
        redis.call('SET', KEYS[2], '1', 'EX', 10)
        total = total + new
        granted[#granted + 1] = 1
    end
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return granted
"""

# KEYS: counts. ARGV: client and number of requests of each.
_GIVE_BACK = """
for i = 1, #ARGV, 2 do
    if redis.call('HINCRBY', KEYS[1], ARGV[i], -tonumber(ARGV[i + 1])) <= 0 then
        redis.call('HDEL', KEYS[1], ARGV[i])
    end
end
"""


class ClientShares:
    """The shares of one queue. Safe to use from many threads."""

    def __init__(self, cache_url: str, *, key_prefix: str, limit: int, processes: int) -> None:
        """Take the cache.

        key_prefix: begins the names of the keys. limit: how many requests may wait in all.
        processes: how many put requests there.
        """
        self._keys = (key_prefix + COUNTS, key_prefix + GRANTED)
        self._limit = limit
        self._processes = processes
        self._cache = connect(cache_url, _TIMEOUT_S)
        self._grant = self._cache.register_script(_GRANT)
        self._give_back = self._cache.register_script(_GIVE_BACK)
        self._cooldown = Cooldown(_COOLDOWN_S)
        self._lock = threading.Lock()
        self._own: Counter[UUID] = Counter()

    def refused(self, new: Mapping[UUID, int], *, waiting: int) -> set[UUID]:
        """Return the clients without room for so many new requests; those of the others count.

        waiting: how many requests wait in the queue.
        """
        arguments = [part for id, count in new.items() for part in (str(id), count)]
        granted = self._run(self._grant, [waiting, self._limit, _KEPT_FOR_S, *arguments])
        if granted is not None:
            return {id for id, is_granted in zip(new, granted, strict=True) if not is_granted}
        with self._lock:
            if not waiting:
                self._own.clear()
            share = max((self._limit + 1) // 2 // self._processes, 1)
            refused = {id for id, count in new.items() if self._own[id] + count > share}
            if waiting + sum(new.values()) > self._limit:
                refused = set(new)
            self._own.update({id: count for id, count in new.items() if id not in refused})
            return refused

    def give_back(self, removed: Mapping[UUID, int]) -> None:
        """Count requests no more that left the queue, or may not have come there."""
        arguments = [part for id, count in removed.items() for part in (str(id), count)]
        if self._run(self._give_back, arguments) is None:
            with self._lock:
                self._own -= Counter(removed)

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""
        self._cache.close()

    def _run(self, script: Any, arguments: Sequence[object]) -> Any:
        """Return the script's answer, or None while the cache is away."""
        if not self._cooldown.allows():
            return None
        try:
            answer = script(keys=self._keys, args=arguments)
        except redis.RedisError as error:
            self._cooldown.start()
            log.warning("client_shares_cache_failed", error=type(error).__name__)
            return None
        self._cooldown.end()
        return answer or []
