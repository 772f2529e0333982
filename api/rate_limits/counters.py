"""Counters of requests in fixed windows, each beginning with its first request.

Guarantees that counting never fails and never holds a request up: while the cache is dead,
hangs or is full, this process counts for itself, in bounded memory, and asks the cache
again when it has come back. Knows nothing of HTTP and nothing of which limits there are.
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
"""How long the cache may take. Once: after that nobody asks until it has come back."""
TRY_AGAIN_EVERY_S: Final = 1.0
MAX_KEYS: Final = 10_000
"""How many counters a process holds by itself, so that no flood of addresses fills it."""

_COUNTER: Final = "truepenny:requests:"
_MARK: Final = "truepenny:mark:"
_TRIAL: Final = "trial"

# A counter without an end would lock somebody out for ever. So the end is not set "with the
# first request", but whenever there is none.
_COUNT: Final = """\
local count = redis.call('INCR', KEYS[1])
local left_ms = redis.call('PTTL', KEYS[1])
if left_ms < 0 then
    left_ms = tonumber(ARGV[1])
    redis.call('PEXPIRE', KEYS[1], left_ms)
end
return {count, left_ms}
"""

_T = TypeVar("_T")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Window:
    """How many requests a window has seen, and for how long it will go on."""

    count: int
    left_s: float


NOTHING: Final = Window(0, 0.0)


class CacheCounters:
    """Counters that all processes share. Every method raises redis.RedisError or OSError."""

    def __init__(self, url: str) -> None:
        self._client = connect(url, TIMEOUT_S)
        self._count = self._client.register_script(_COUNT)

    def hit(self, key: str, window_s: int) -> Window:
        """Count one request, in one round trip."""
        answer = self._count(keys=[_COUNTER + key], args=[window_s * 1000])
        count, left_ms = cast(list[int], answer)
        return Window(count, left_ms / 1000)

    def look(self, key: str) -> Window:
        """Return the window without counting."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.get(_COUNTER + key)
        pipeline.pttl(_COUNTER + key)
        count, left_ms = pipeline.execute()
        return Window(int(count), left_ms / 1000) if count and left_ms > 0 else NOTHING

    def mark(self, name: str, *, for_s: int) -> bool:
        """Let all processes find the mark for so long, or until the cache forgets it."""
        return bool(self._client.set(_MARK + name, 1, ex=for_s))

    def is_marked(self, name: str) -> bool:
        """Tell whether there is such a mark."""
        return bool(self._client.exists(_MARK + name))

    def try_out(self) -> None:
        """Do what counting does: a cache that is full answers a ping all the same."""
        self.hit(_TRIAL, 1)

    def forget_connections(self) -> None:
        """Close what is idle: those connections lead to a cache that does not answer."""
        self._client.connection_pool.disconnect(inuse_connections=False)


class MemoryCounters:
    """Counters of one process out of several that share the requests between them.

    Each request after the first stands for one in every process, so that all together allow
    about what the limit says, and at least one request each.
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

    def look(self, key: str) -> Window:
        """Return the window without counting."""
        now_s = self._clock()
        with self._lock:
            count, ends_at_s = self._windows.get(key, (0, 0.0))
        return Window(count, ends_at_s - now_s) if ends_at_s > now_s else NOTHING

    def note(self, key: str, window: Window) -> None:
        """Remember how far the shared counter had come, to go on from there."""
        ends_at_s = self._clock() + window.left_s
        with self._lock:
            self._keep(key, window.count, ends_at_s)

    def _keep(self, key: str, count: int, ends_at_s: float) -> None:
        self._windows.pop(key, None)
        if len(self._windows) >= self._max_keys:
            # Whoever was quiet longest gets a new window somewhat early.
            del self._windows[next(iter(self._windows))]
        self._windows[key] = (count, ends_at_s)


class Counters:
    """The cache's counters, or this process's own while the cache does not count.

    One thread, which lives only then, tries the cache again; no request waits for it.
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
        self._resting = False
        self._thread = BackgroundThread(
            "rate-counters", self._try_again, log=log, not_started="cache_trial_not_started"
        )

    @property
    def are_shared(self) -> bool:
        """Whether the cache counts."""
        return not self._resting

    def hit(self, key: str, window_s: int) -> Window:
        """Count one request."""
        window = self._ask(lambda: self._cache.hit(key, window_s))
        if window is None:
            return self._memory.hit(key, window_s)
        self._memory.note(key, window)
        return window

    def look(self, key: str) -> Window:
        """Return the window without counting; NOTHING when there is none."""
        window = self._ask(lambda: self._cache.look(key))
        return self._memory.look(key) if window is None else window

    def mark(self, name: str, *, for_s: int) -> bool:
        """Leave a mark for all processes. Returns: whether the cache took it."""
        return self._ask(lambda: self._cache.mark(name, for_s=for_s)) or False

    def is_marked(self, name: str) -> bool:
        """Tell whether the cache has such a mark."""
        return self._ask(lambda: self._cache.is_marked(name)) or False

    def _ask(self, question: Callable[[], _T]) -> _T | None:
        """Ask the cache. Returns: None when it rests, or fails and rests from now on."""
        if self._resting:
            return None
        try:
            return question()
        except (redis.RedisError, OSError) as error:
            self._rest(error)
            return None

    def _rest(self, error: Exception) -> None:
        with self._lock:
            if self._resting:  # others failed with us
                return
            self._resting = True
        self._cache.forget_connections()
        if self._thread.ensure_running():
            log.warning("requests_counted_in_memory", error=type(error).__name__)
        else:
            self._resting = False  # or nobody would ever end the rest: the next request asks

    def _try_again(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(self._try_again_every_s)
            try:
                self._cache.try_out()
            except (redis.RedisError, OSError) as error:
                log.debug("cache_does_not_count_yet", error=type(error).__name__)
            except Exception as error:  # nobody else brings the cache back
                log.error("cache_trial_failed", exc_info=error)
            else:
                self._thread.retire()  # the next failure starts the next thread
                self._resting = False
                log.info("requests_counted_in_cache")
                return
