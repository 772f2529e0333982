"""Outage cache: keeps the database's last answers in Redis, signed, for when it is away.

Guarantees that a process which starts during an outage can still authenticate clients, and
that write access to the cache alone is not enough to forge a client: every value is signed
with a secret that only programs with access to the database have.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final, cast

import redis

from monitoring.logs import get_logger
from resilience.cooldown import Cooldown
from resilience.redis_client import connect

KEPT_FOR_S: Final = 90_000
"""Somewhat longer than the day for which a key counts, so that its refusal outlives it."""
_TIMEOUT_S: Final = 0.3
_COOLDOWN_S: Final = 5.0
_PREFIX: Final = "truepenny:last-known:1:"

log = get_logger(__name__)


def short_cache_client(cache_url: str) -> redis.Redis:
    """Return a client with a short time-out. It connects when first used."""
    return connect(cache_url, _TIMEOUT_S)


class OutageCache:
    """Signed texts by name. None is found while the cache is away or after it evicted them."""

    def __init__(self, cache: redis.Redis, *, secret: str) -> None:
        self._cache = cache
        self._key = hashlib.sha256(b"truepenny last known\0" + secret.encode()).digest()
        self._cooldown = Cooldown(_COOLDOWN_S)

    def remember(self, name: str, value: str) -> None:
        """Keep a value, if the cache answers."""
        self.remember_all({name: value})

    def remember_all(self, values: Mapping[str, str], *, forget: Sequence[str] = ()) -> bool:
        """Keep values, and drop others. Returns: whether the cache has done all of it."""
        if not self._cooldown.allows():
            return False
        pipeline = self._cache.pipeline(transaction=False)
        for name, value in values.items():
            pipeline.set(_PREFIX + name, self._sign(name, value) + value, ex=KEPT_FOR_S)
        for name in forget:
            pipeline.delete(_PREFIX + name)
        try:
            pipeline.execute()
        except redis.RedisError as error:
            self._failed(error)
            return False
        self._cooldown.end()
        return True

    def recall_all(self, names: Sequence[str]) -> list[str | None]:
        """Return the values, in order; None for one that is missing or has a wrong signature."""
        nothing: list[str | None] = [None] * len(names)
        if not self._cooldown.allows():
            return nothing
        try:
            found = cast(list[bytes | None], self._cache.mget([_PREFIX + name for name in names]))
        except redis.RedisError as error:
            self._failed(error)
            return nothing
        self._cooldown.end()
        return [
            None if text is None else self._checked(name, text)
            for name, text in zip(names, found, strict=True)
        ]

    def recall(self, name: str) -> str | None:
        """Return the value that was kept, or None when it is missing or its signature is wrong."""
        [value] = self.recall_all([name])
        return value

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
