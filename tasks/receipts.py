"""Receipts: what was buffered, by id, in the cache, where the buffer itself cannot be asked.

RabbitMQ's queues cannot be searched. A receipt lets the API tell a client that its transfer is
buffered, and that a key was used for something else. It is lost with the cache, and then only
that is lost: the request itself is in the queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import redis

from ledger.buffering import Buffered, decode, encode
from ledger.errors import Unreadable
from monitoring.logs import get_logger
from resilience.cooldown import Cooldown
from resilience.redis_client import connect

KEPT_FOR_S: Final = 86_400
_PREFIX: Final = "truepenny:intake:receipt:"
_TIMEOUT_S: Final = 0.2
_COOLDOWN_S: Final = 2.0

log = get_logger(__name__)


class Receipts:
    """Receipts of one cache. One that is away has none, and is asked again after a cool-down."""

    def __init__(self, cache_url: str) -> None:
        self._cache = connect(cache_url, _TIMEOUT_S)
        self._cooldown = Cooldown(_COOLDOWN_S)

    def write(self, requests: Sequence[Buffered]) -> None:
        """Keep a receipt of each."""
        pipeline = self._cache.pipeline(transaction=False)
        for each in requests:
            pipeline.set(_name(each.id), encode(each), ex=KEPT_FOR_S)
        self._run(pipeline)

    def find(self, ids: Sequence[UUID]) -> dict[UUID, Buffered]:
        """Those of the receipts that are there."""
        pipeline = self._cache.pipeline(transaction=False)
        for id in ids:
            pipeline.get(_name(id))
        found = zip(ids, self._run(pipeline), strict=False)
        return {id: receipt for id, text in found if (receipt := _read(text)) is not None}

    def remove(self, ids: Sequence[UUID]) -> None:
        """Forget receipts of what is buffered no longer."""
        pipeline = self._cache.pipeline(transaction=False)
        for id in ids:
            pipeline.delete(_name(id))
        self._run(pipeline)

    def close(self) -> None:
        """Let go of connections. The next call opens new ones."""
        self._cache.close()

    def _run(self, pipeline: Any) -> list[Any]:
        """The answers, in order; none when the cache is away."""
        if not self._cooldown.allows():
            return []
        try:
            with pipeline:
                answers: list[Any] = pipeline.execute(raise_on_error=False)
        except redis.RedisError as error:
            self._cooldown.start()
            log.warning("receipts_cache_failed", error=type(error).__name__)
            return []
        self._cooldown.end()
        return answers


def _name(id: UUID) -> str:
    return f"{_PREFIX}{id}"


def _read(text: object) -> Buffered | None:
    if not isinstance(text, bytes):
        return None
    try:
        return decode(text)
    except Unreadable:
        return None
