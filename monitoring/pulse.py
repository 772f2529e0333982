"""The pulse of this process: what it does, from its own loop, for as long as that turns.

Guarantees that telling costs the loop next to nothing and never ends it: the file on every
beat, the cache as often as it answers in time. The file says to this machine that the process
is not stuck; the cache says to everybody that there is one.
"""

from __future__ import annotations

import time
from pathlib import Path

from redis import RedisError

from monitoring import heartbeats
from monitoring.heartbeat_files import HeartbeatFile, folder
from monitoring.logs import get_logger
from resilience.outage_log import OutageLog
from resilience.redis_client import connect
from settings import Settings

EVERY_S = 5.0
"""How often the cache is told. The loop should beat at least as often."""
_TOUCH_EVERY_S = 1.0
_CACHE_TIMEOUT_S = 0.25
_PAUSE_SHARE = 20
"""A cache that is slow to fail costs the loop a twentieth of its time and no more."""
_MAX_PAUSE_S = 60.0

log = get_logger(__name__)


class Pulse:
    """The heartbeat of one process, in its file and in the cache.

    name: of the program, `@` and the host; the file has only the program's.
    """

    def __init__(self, name: str, *, data_dir: Path, cache_url: str) -> None:
        self._name = name
        self._file = HeartbeatFile(folder(data_dir), name.partition("@")[0])
        self._cache = connect(cache_url, _CACHE_TIMEOUT_S)
        self._touch_at_s = self._tell_at_s = time.monotonic()
        self._file_outage = OutageLog(log, "heartbeat_not_touched")
        self._cache_outage = OutageLog(log, "heartbeat_not_sent")

    @classmethod
    def of(cls, name: str, settings: Settings) -> Pulse:
        """Return the pulse of the process with this name."""
        return cls(name, data_dir=settings.data_dir, cache_url=settings.cache_url)

    def beat(self) -> None:
        """Say that the loop turns. As often as you like; never raises."""
        now_s = time.monotonic()
        if now_s >= self._touch_at_s:
            self._touch_at_s = now_s + _TOUCH_EVERY_S
            self._touch()
        if now_s >= self._tell_at_s:
            self._tell(now_s)

    def _touch(self) -> None:
        try:
            self._file.touch()
        except OSError as error:
            self._file_outage.failed(error=type(error).__name__)
        else:
            self._file_outage.recovered()

    def _tell(self, began_s: float) -> None:
        pause_s = EVERY_S
        try:
            heartbeats.beat(self._cache, self._name)
        except RedisError as error:
            self._cache_outage.failed(error=type(error).__name__)
            took_s = time.monotonic() - began_s
            pause_s = min(max(EVERY_S, _PAUSE_SHARE * took_s), _MAX_PAUSE_S)
        else:
            self._cache_outage.recovered()
        self._tell_at_s = time.monotonic() + pause_s
