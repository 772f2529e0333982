"""Outage cache: keeps the database's last answers in Redis, signed, for when it is away.

Guarantees that a process which starts during an outage can still authenticate clients, and
that write access to the cache alone is not enough to forge a client: every value is signed
with a secret that only programs with access to the database have.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import redis

from monitoring.logs import get_logger
from resilience.cooldown import Cooldown
from resilience.redis_client import connect

KEPT_FOR_S: Final = 86_400
_TIMEOUT_S: Final = 0.3
_COOLDOWN_S: Final = 5.0
_NAME: Final = "last-known:1:"

log = get_logger(__name__)


def short_cache_client(cache_url: str) -> redis.Redis:
    """Return a client with a short time-out. It connects when first used."""
    return connect(cache_url, _TIMEOUT_S)


class OutageCache:
    """Signed texts by name. None is found while the cache is away or after it evicted them."""

    def __init__(self, cache: redis.Redis, *, key_prefix: str, secret: str) -> None:
        self._cache = cache
        self._prefix = key_prefix + _NAME
        self._key = hashlib.sha256(b"truepenny last known\0" + secret.encode()).digest()
        self._cooldown = Cooldown(_COOLDOWN_S)

    def remember(self, name: str, value: str) -> None:
        """Keep a value, if the cache answers."""
        if self._cooldown.allows():
            try:
                self._cache.set(self._prefix + name, self._sign(name, value) + value, ex=KEPT_FOR_S)
            except redis.RedisError as error:
                self._failed(error)
            else:
                self._cooldown.end()

    def forget(self, name: str) -> None:
        """Drop a value that is no longer true, if the cache answers."""
        if self._cooldown.allows():
            try:
                self._cache.delete(self._prefix + name)
            except redis.RedisError as error:
                self._failed(error)
            else:
                self._cooldown.end()

    def recall(self, name: str) -> str | None:
        """Return the value that was kept, or None when it is missing or its signature is wrong."""
        if not self._cooldown.allows():
            return None
        try:
            found = self._cache.get(self._prefix + name)
        except redis.RedisError as error:
            self._failed(error)
            return None
        self._cooldown.end()
        return self._checked(name, found) if isinstance(found, bytes) else None

    def _checked(self, name: str, found: bytes) -> str | None:
        text = found.decode(errors="replace")
        signature, value = text[:_SIGNATURE_LENGTH], text[_SIGNATURE_LENGTH:]
        if not hmac.compare_digest(signature.encode(), self._sign(name, value).encode()):
            log.warning("last_known_forged")
            return None
        return value

    def _sign(self, name: str, value: str) -> str:
        return hmac.new(self._key, f"{name}\0{value}".encode(), hashlib.sha256).hexdigest()

    def _failed(self, error: redis.RedisError) -> None:
        self._cooldown.start()
        log.warning("last_known_cache_failed", error=type(error).__name__)


_SIGNATURE_LENGTH = hashlib.sha256().digest_size * 2
