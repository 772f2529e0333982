"""Receipts: notes in the cache of the requests that RabbitMQ buffers, by id.

RabbitMQ's queues cannot be searched. A receipt lets the API answer that a transfer is buffered,
or that its key was used for another request. Losing the cache loses only these answers: the
requests themselves are in the queue. A receipt carries a mark like an entry, and counts only for
the transfer that it names, so write access to the cache is not enough to forge one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import redis

from ledger.buffer.entries import Buffered, decode, encode
from ledger.buffer.seal import Seal
from ledger.errors import Unreadable
from monitoring.logs import get_logger
from resilience.cooldown import Cooldown
from resilience.redis_client import connect

KEPT_FOR_S: Final = 86_400
_NAME: Final = "intake:receipt:2:"
_TIMEOUT_S: Final = 0.2
_COOLDOWN_S: Final = 2.0

log = get_logger(__name__)


class Receipts:
    """The receipts in one cache. A cache that fails has none, and is used again after a pause."""

    def __init__(self, cache_url: str, *, key_prefix: str, seal: Seal) -> None:
        self._prefix = key_prefix + _NAME
        self._seal = seal
        self._cache = connect(cache_url, _TIMEOUT_S)
        self._cooldown = Cooldown(_COOLDOWN_S)

    def write(self, requests: Sequence[Buffered]) -> None:
        """Write a receipt for each request."""
        pipeline = self._cache.pipeline(transaction=False)
        for each in requests:
            pipeline.set(self._name(each.id), encode(each, self._seal), ex=KEPT_FOR_S)
        self._run(pipeline)

    def find(self, ids: Sequence[UUID]) -> dict[UUID, Buffered]:
        """Return the receipts that exist and are genuine, by id."""
        pipeline = self._cache.pipeline(transaction=False)
        for id in ids:
            pipeline.get(self._name(id))
        found = zip(ids, self._run(pipeline), strict=False)
        return {id: receipt for id, text in found if (receipt := self._read(id, text)) is not None}

    def remove(self, ids: Sequence[UUID]) -> None:
        """Delete the receipts of requests that are no longer buffered."""
        pipeline = self._cache.pipeline(transaction=False)
        for id in ids:
            pipeline.delete(self._name(id))
        self._run(pipeline)

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""
        self._cache.close()

    def _name(self, id: UUID) -> str:
        return f"{self._prefix}{id}"

    def _read(self, id: UUID, text: object) -> Buffered | None:
        if not isinstance(text, bytes):
            return None
        with suppress(Unreadable):
            receipt = decode(text, self._seal)
            if receipt.id == id:
                return receipt
        log.warning("receipt_forged", transfer_id=str(id))
        return None

    def _run(self, pipeline: Any) -> list[Any]:
        """Return the answers in order; none when the cache is away."""
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
