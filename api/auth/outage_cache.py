"""Outage cache: keeps the database's last answers in Redis, marked, for when it is away.

Guarantees that a process which starts during an outage can still authenticate clients, and
that write access to the cache alone is not enough to forge a client: every value carries a mark
that only the installation's secret can make, for the name under which it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

import redis

from ledger.buffer.seal import MARK_LENGTH, Seal, seal_of
from monitoring.logs import get_logger
from resilience.cooldown import Cooldown
from resilience.redis_client import connect
from settings import Settings

KEPT_FOR_S: Final = 90_000
"""Somewhat longer than the day for which a key counts, so that its refusal outlives it."""
_TIMEOUT_S: Final = 0.3
_COOLDOWN_S: Final = 5.0
_NAME: Final = "last-known:2:"

log = get_logger(__name__)


class OutageCache:
    """Marked texts by name. None is found while the cache is away or after it evicted them."""

    def __init__(self, cache: redis.Redis, *, key_prefix: str, seal: Seal) -> None:
        self._cache = cache
        self._prefix = key_prefix + _NAME
        self._seal = seal
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
            marked = self._seal.mark(_marked(name, value)) + value
            pipeline.set(self._prefix + name, marked, ex=KEPT_FOR_S)
        for name in forget:
            pipeline.delete(self._prefix + name)
        try:
            pipeline.execute()
        except redis.RedisError as error:
            self._failed(error)
            return False
        self._cooldown.end()
        return True

    def recall_all(self, names: Sequence[str]) -> list[str | None]:
        """Return the values, in order; None for one that is missing or has no genuine mark."""
        nothing: list[str | None] = [None] * len(names)
        if not self._cooldown.allows():
            return nothing
        try:
            found = cast(
                list[bytes | None], self._cache.mget([self._prefix + name for name in names])
            )
        except redis.RedisError as error:
            self._failed(error)
            return nothing
        self._cooldown.end()
        return [
            None if text is None else self._checked(name, text)
            for name, text in zip(names, found, strict=True)
        ]

    def recall(self, name: str) -> str | None:
        """Return the value that was kept, or None when it is missing or its mark is not genuine."""
        [value] = self.recall_all([name])
        return value

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
    return OutageCache(
        cache, key_prefix=settings.key_prefix, seal=seal_of(settings, purpose="last known")
    )


def _marked(name: str, value: str) -> bytes:
    return f"{name}\0{value}".encode()
