"""Counters of requests and items: count in fixed windows, each begun by what it counts first.

Guarantees that counting never fails and never delays a request for long: while the cache is
dead, hangs or is full, this process counts by itself, in bounded memory, until the cache works
again. Knows nothing of HTTP, and not which limits there are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import redis

from monitoring.logs import get_logger
from resilience.background_thread import BackgroundThread
from resilience.redis_client import connect

TIMEOUT_S: Final = 0.2
"""How long the cache may take. After one time-out no request uses it until it works again."""
TRY_AGAIN_EVERY_S: Final = 1.0
MAX_KEYS: Final = 10_000
"""How many counters a process holds at most, so that a flood of addresses cannot fill it."""

_COUNTER: Final = "requests:"
_MARK: Final = "mark:"
_TRIAL: Final = "trial"

# A counter without an end would lock a client out permanently. So the end is set whenever
# there is none, and not only with the first request.
_COUNT: Final = """\
local count = redis.call('INCR', KEYS[1])
local left_ms = redis.call('PTTL', KEYS[1])
if left_ms < 0 then
    left_ms = tonumber(ARGV[1])
    redis.call('PEXPIRE', KEYS[1], left_ms)
end
return {count, left_ms}
"""

# All of them or none, so that a refused batch leaves the rest to smaller ones.
_TAKE: Final = """\
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
local left_ms = redis.call('PTTL', KEYS[1])
if left_ms == -1 then
    left_ms = tonumber(ARGV[1])
    redis.call('PEXPIRE', KEYS[1], left_ms)
end
if count + ARGV[2] > tonumber(ARGV[3]) then
    return {count, left_ms, 0}
end
count = redis.call('INCRBY', KEYS[1], ARGV[2])
if left_ms < 0 then
    left_ms = tonumber(ARGV[1])
    redis.call('PEXPIRE', KEYS[1], left_ms)
end
return {count, left_ms, 1}
"""
_GIVE_BACK: Final = """\
local back = math.min(tonumber(redis.call('GET', KEYS[1]) or '0'), ARGV[1])
if back > 0 then
    redis.call('DECRBY', KEYS[1], back)
end
"""

_T = TypeVar("_T")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Window:
    """A window: how many requests it has counted, and in how many seconds it ends."""

    count: int
    left_s: float


NOTHING: Final = Window(0, 0.0)


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer to `take`: the window after it, and whether the items were counted."""

    window: Window
    fits: bool


class CacheCounters:
    """Counters that all processes share. Every method raises redis.RedisError or OSError."""

    def __init__(self, url: str, *, key_prefix: str) -> None:
        self._counter, self._mark = key_prefix + _COUNTER, key_prefix + _MARK
        self._client = connect(url, TIMEOUT_S)
        self._count = self._client.register_script(_COUNT)
        self._take = self._client.register_script(_TAKE)
        self._give_back = self._client.register_script(_GIVE_BACK)

    def hit(self, key: str, window_s: int) -> Window:
        """Count one request, in one round trip."""
        answer = self._count(keys=[self._counter + key], args=[window_s * 1000])
        count, left_ms = cast(list[int], answer)
        return Window(count, left_ms / 1000)

    def take(self, key: str, window_s: int, *, items: int, limit: int) -> Taken:
        """Count the items if all of them are within the limit, else none."""
        answer = self._take(keys=[self._counter + key], args=[window_s * 1000, items, limit])
        count, left_ms, fits = cast(list[int], answer)
        return Taken(Window(count, max(0, left_ms) / 1000), fits=bool(fits))

    def give_back(self, key: str, items: int) -> None:
        """Count so many items less."""
        self._give_back(keys=[self._counter + key], args=[items])

    def look(self, key: str) -> Window:
        """Return the window without counting."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.get(self._counter + key)
        pipeline.pttl(self._counter + key)
        count, left_ms = pipeline.execute()
        return Window(int(count), left_ms / 1000) if count and left_ms > 0 else NOTHING

    def mark(self, name: str, *, for_s: int) -> bool:
        """Set a mark that all processes find for so long, or until the cache evicts it."""
        return bool(self._client.set(self._mark + name, 1, ex=for_s))

    def is_marked(self, name: str) -> bool:
        """Tell whether there is such a mark."""
        return bool(self._client.exists(self._mark + name))

    def try_out(self) -> None:
        """Count once, as a test: a cache that is full would still answer a ping."""
        self.hit(_TRIAL, 1)

    def close_idle_connections(self) -> None:
        """Close the idle connections: they lead to a cache that does not answer."""
        self._client.connection_pool.disconnect(inuse_connections=False)


class MemoryCounters:
    """Counters in the memory of one of several processes that share the requests.

    Each request after the first counts once for every process, so that all processes together
    allow about as many as the limit, and each at least one.
    """

    def __init__(
        self,
        *,
        processes: int,
        max_keys: int = MAX_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._processes = processes
        self._max_keys = max_keys
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[int, float]] = {}  # count, end; in the order of last use

    def __len__(self) -> int:
        return len(self._windows)

    def hit(self, key: str, window_s: int) -> Window:
        """Count one request."""
        now_s = self._clock()
        with self._lock:
            count, ends_at_s = self._windows.get(key, (0, 0.0))
            if ends_at_s <= now_s:
                count, ends_at_s = 1, now_s + window_s
            else:
                count += self._processes
            self._keep(key, count, ends_at_s)
        return Window(count, ends_at_s - now_s)

    def take(self, key: str, window_s: int, *, items: int, limit: int) -> Taken:
        """Count the items if all of them are within this process's share, else none.

        As with requests, the first in a window count once, so that each process lets some in.
        """
        now_s = self._clock()
        with self._lock:
            count, ends_at_s = self._windows.get(key, (0, 0.0))
            if ends_at_s <= now_s:
                count, ends_at_s = 0, now_s + window_s
            after = count + items * (self._processes if count else 1)
            fits = after <= limit
            if fits:
                self._keep(key, after, ends_at_s)
        return Taken(Window(after if fits else count, ends_at_s - now_s), fits=fits)

    def give_back(self, key: str, items: int) -> None:
        """Count so many items less."""
        with self._lock:
            count, ends_at_s = self._windows.get(key, (0, 0.0))
            if count:
                self._keep(key, max(0, count - items), ends_at_s)

    def look(self, key: str) -> Window:
        """Return the window without counting."""
        now_s = self._clock()
        with self._lock:
            count, ends_at_s = self._windows.get(key, (0, 0.0))
        return Window(count, ends_at_s - now_s) if ends_at_s > now_s else NOTHING

    def note(self, key: str, window: Window) -> None:
        """Remember the count of the shared counter, to continue from it."""
        ends_at_s = self._clock() + window.left_s
        with self._lock:
            self._keep(key, window.count, ends_at_s)

    def _keep(self, key: str, count: int, ends_at_s: float) -> None:
        self._windows.pop(key, None)
        if len(self._windows) >= self._max_keys:
            # The key that was used least recently gets a new window somewhat early.
            del self._windows[next(iter(self._windows))]
        self._windows[key] = (count, ends_at_s)


class Counters:
    """The cache's counters, or those in memory while the cache does not count.

    One thread, which runs only during that time, tries the cache again; no request waits for it.
    """

    def __init__(
        self,
        cache: CacheCounters,
        memory: MemoryCounters,
        *,
        try_again_every_s: float = TRY_AGAIN_EVERY_S,
    ) -> None:
        self._cache = cache
        self._memory = memory
        self._try_again_every_s = try_again_every_s
        self._lock = threading.Lock()
        self._is_cache_away = False
        self._thread = BackgroundThread(
            "rate-counters", self._try_again, log=log, not_started="cache_trial_not_started"
        )

    @property
    def are_shared(self) -> bool:
        """Whether the cache counts."""
        return not self._is_cache_away

    def hit(self, key: str, window_s: int) -> Window:
        """Count one request."""
        window = self._ask(lambda: self._cache.hit(key, window_s))
        if window is None:
            return self._memory.hit(key, window_s)
        self._memory.note(key, window)
        return window

    def take(self, key: str, window_s: int, *, items: int, limit: int) -> Taken:
        """Count the items if all of them are within the limit, else none."""
        taken = self._ask(lambda: self._cache.take(key, window_s, items=items, limit=limit))
        if taken is None:
            return self._memory.take(key, window_s, items=items, limit=limit)
        self._memory.note(key, taken.window)
        return taken

    def give_back(self, key: str, items: int) -> None:
        """Count so many items less. They stay counted if the cache fails just now."""
        self._memory.give_back(key, items)
        self._ask(lambda: self._cache.give_back(key, items))

    def look(self, key: str) -> Window:
        """Return the window without counting; NOTHING when there is none."""
        window = self._ask(lambda: self._cache.look(key))
        return self._memory.look(key) if window is None else window

    def mark(self, name: str, *, for_s: int) -> bool:
        """Set a mark for all processes. Returns: whether the cache has stored it."""
        return self._ask(lambda: self._cache.mark(name, for_s=for_s)) or False

    def is_marked(self, name: str) -> bool:
        """Tell whether the cache has such a mark."""
        return self._ask(lambda: self._cache.is_marked(name)) or False

    def _ask(self, question: Callable[[], _T]) -> _T | None:
        """Ask the cache. Returns: None while it is away, also when it fails just now."""
        if self._is_cache_away:
            return None
        try:
            return question()
        except (redis.RedisError, OSError) as error:
            self._cache_failed(error)
            return None

    def _cache_failed(self, error: Exception) -> None:
        with self._lock:
            if self._is_cache_away:  # other threads failed at the same time
                return
            self._is_cache_away = True
        self._cache.close_idle_connections()
        if self._thread.ensure_running():
            log.warning("requests_counted_in_memory", error=type(error).__name__)
        else:
            # Without the thread nothing would notice that the cache works: the next request asks.
            self._is_cache_away = False

    def _try_again(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(self._try_again_every_s)
            try:
                self._cache.try_out()
            except (redis.RedisError, OSError) as error:
                log.debug("cache_does_not_count_yet", error=type(error).__name__)
            except Exception as error:  # only this thread can bring the cache back: it goes on
                log.error("cache_trial_failed", exc_info=error)
            else:
                self._thread.retire()  # the next failure starts the next thread
                self._is_cache_away = False
                log.info("requests_counted_in_cache")
                return
