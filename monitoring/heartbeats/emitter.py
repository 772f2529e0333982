"""Heartbeat emitter: sends the heartbeats of a process from its own main loop.

Guarantees that a heartbeat costs the loop almost nothing and never ends it. The file, touched
about once a second, shows this machine that the process is not stuck. The cache, written less
often if it answers slowly, shows all others that the process exists.
"""

from __future__ import annotations

import time
from pathlib import Path

from redis import RedisError

from monitoring.heartbeats import heartbeat_cache
from monitoring.heartbeats.heartbeat_files import HeartbeatFile, folder
from monitoring.logs import get_logger
from resilience.outage_log import OutageLog
from resilience.redis_client import connect
from settings import Settings

EVERY_S = 5.0
"""How often the cache gets a heartbeat. The loop should call `beat` at least as often."""
_TOUCH_EVERY_S = 1.0
_CACHE_TIMEOUT_S = 0.25
_PAUSE_SHARE = 20
"""A cache that fails slowly takes at most a twentieth of the loop's time."""
_MAX_PAUSE_S = 60.0

log = get_logger(__name__)


class HeartbeatEmitter:
    """Heartbeats of one process, to its file and to the cache.

    name: the program's name, `@` and the host; the file is named after the program alone.
    """

    def __init__(self, name: str, *, data_dir: Path, cache_url: str, key_prefix: str) -> None:
        self._name = name
        self._key_prefix = key_prefix
        self._file = HeartbeatFile(folder(data_dir), name.partition("@")[0])
        self._cache = connect(cache_url, _CACHE_TIMEOUT_S)
        self._touch_at_s = self._send_at_s = time.monotonic()
        self._file_outage = OutageLog(log, "heartbeat_not_touched")
        self._cache_outage = OutageLog(log, "heartbeat_not_sent")

    @classmethod
    def of(cls, name: str, settings: Settings) -> HeartbeatEmitter:
        """Return the emitter of the process with this name."""
        return cls(
            name,
            data_dir=settings.data_dir,
            cache_url=settings.cache_url,
            key_prefix=settings.key_prefix,
        )

    def beat(self) -> None:
        """Report that the loop is running. May be called at any rate; never raises."""
        now_s = time.monotonic()
        if now_s >= self._touch_at_s:
            self._touch_at_s = now_s + _TOUCH_EVERY_S
            try:
                self._file.touch()
            except OSError as error:
                self._file_outage.failed(error=type(error).__name__)
            else:
                self._file_outage.recovered()
        if now_s >= self._send_at_s:
            self._send(now_s)

    def _send(self, began_s: float) -> None:
        pause_s = EVERY_S
        try:
            heartbeat_cache.beat(self._cache, self._name, key_prefix=self._key_prefix)
        except RedisError as error:
            self._cache_outage.failed(error=type(error).__name__)
            took_s = time.monotonic() - began_s
            pause_s = min(max(EVERY_S, _PAUSE_SHARE * took_s), _MAX_PAUSE_S)
        else:
            self._cache_outage.recovered()
        self._send_at_s = time.monotonic() + pause_s
