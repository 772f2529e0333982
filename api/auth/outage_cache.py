"""Outage cache: keeps the database's last answers in Redis, marked, for when it is away.

Guarantees that a process which starts during an outage can still authenticate clients, and
that write access to the cache alone is not enough to forge a client: every value carries a mark
that only the installation's secret can make, for the name under which it is kept.
"""

from __future__ import annotations

from typing import Final

import redis

from ledger.buffer.seal import MARK_LENGTH, Seal, seal_of
from monitoring.logs import get_logger
from resilience.cooldown import Cooldown
from resilience.redis_client import connect
from settings import Settings

KEPT_FOR_S: Final = 86_400
_TIMEOUT_S: Final = 0.3
_COOLDOWN_S: Final = 5.0
_PREFIX: Final = "truepenny:last-known:2:"

log = get_logger(__name__)


class OutageCache:
    """Marked texts by name. None is found while the cache is away or after it evicted them."""

    def __init__(self, cache: redis.Redis, *, seal: Seal) -> None:
        self._cache = cache
        self._seal = seal
        self._cooldown = Cooldown(_COOLDOWN_S)

    def remember(self, name: str, value: str) -> None:
        """Keep a value, if the cache answers."""
        if self._cooldown.allows():
            try:
                self._cache.set(
                    _PREFIX + name, self._seal.mark(_marked(name, value)) + value, ex=KEPT_FOR_S
                )
            except redis.RedisError as error:
                self._failed(error)
            else:
                self._cooldown.end()

    def forget(self, name: str) -> None:
        """Drop a value that is no longer true, if the cache answers."""
        if self._cooldown.allows():
            try:
                self._cache.delete(_PREFIX + name)
            except redis.RedisError as error:
                self._failed(error)
            else:
                self._cooldown.end()

    def recall(self, name: str) -> str | None:
        """Return the value that was kept, or None when it is missing or its mark is not genuine."""
        if not self._cooldown.allows():
            return None
        try:
            found = self._cache.get(_PREFIX + name)
        except redis.RedisError as error:
            self._failed(error)
            return None
        self._cooldown.end()
        return self._checked(name, found) if isinstance(found, bytes) else None

    def _checked(self, name: str, found: bytes) -> str | None:
        text = found.decode(errors="replace")
        mark, value = text[:MARK_LENGTH], text[MARK_LENGTH:]
        if not self._seal.is_genuine(_marked(name, value), mark):
            log.warning("last_known_forged")
            return None
        return value

    def _failed(self, error: redis.RedisError) -> None:
        self._cooldown.start()
        log.warning("last_known_cache_failed", error=type(error).__name__)


def build_outage_cache(settings: Settings) -> OutageCache:
    """Return the outage cache of this installation. It connects when first used."""
    cache = connect(settings.cache_url, _TIMEOUT_S)
    return OutageCache(cache, seal=seal_of(settings, purpose="last known"))


def _marked(name: str, value: str) -> bytes:
    return f"{name}\0{value}".encode()
