"""Timeline memory: lets processes tell each other, on broker and cache, the newest primary.

Guarantees that a process which starts after a failover does not begin on the server that was
replaced, if any process has met the new one. Each remembers the newest itself, and writes it again
where it is missing, older or not genuine. So an emptied memory comes back while any process runs,
and nobody without the installation's secret can have a server refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import redis

from ledger.buffer.seal import MARK_LENGTH, Seal, seal_of
from ledger.postgres.failover import read_url
from ledger.postgres.succession import Primary, Succession
from monitoring.logs import get_logger
from resilience.cooldown import Cooldown
from resilience.redis_client import connect, is_redis
from settings import Settings

_NAME: Final = "database-timeline:1:"
_TIMEOUT_S: Final = 0.3
_COOLDOWN_S: Final = 5.0
_MOST_BYTES: Final = 200

log = get_logger(__name__)


class TimelineMemory:
    """What is remembered in some Redis servers. Those that are away are left out."""

    def __init__(self, urls: Sequence[str], *, key_prefix: str, seal: Seal) -> None:
        self._stores = [_Store(url, seal) for url in urls]
        self._prefix = key_prefix + _NAME
        self._logged: Primary | None = None

    def compare(self, succession: Succession) -> None:
        """Learn the newest primary of the cluster from the memory, and remember it there.

        Takes less than a second, and never raises.
        """
        known = succession.newest
        if known is None:
            return
        name = f"{self._prefix}{known.system}"
        remembered = [store.read(name, known.system) for store in self._stores]
        for each in remembered:
            if each is not None:
                succession.learn(each)
        newest = succession.newest or known
        if newest != self._logged:
            self._logged = newest
            log.warning(
                "database_primary_seen",
                system=str(newest.system),
                timeline=newest.timeline,
                was_remembered=newest in remembered,
            )
        for store, each in zip(self._stores, remembered, strict=True):
            if each is None or each.rank < newest.rank:
                store.write(name, newest)

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""
        for store in self._stores:
            store.close()


class _Store:
    """One of the servers. It has nothing while it is away, and is asked again after a pause."""

    def __init__(self, url: str, seal: Seal) -> None:
        self._client = connect(url, _TIMEOUT_S)
        self._cooldown = Cooldown(_COOLDOWN_S)
        self._seal = seal
        self._has_written = False

    def read(self, name: str, system: int) -> Primary | None:
        text = self._run(lambda: self._client.getrange(name, 0, _MOST_BYTES))
        if text is None:
            return None
        if not text:
            if self._has_written:
                self._has_written = False
                log.warning("database_timeline_forgotten")
            return None
        mark, value = text[:MARK_LENGTH], text[MARK_LENGTH:]
        if not self._seal.is_genuine(_marked(name, value), mark.decode(errors="replace")):
            log.warning("database_timeline_forged")
            return None
        accepted_at_us, timeline = value.split()
        return Primary(system, int(timeline), int(accepted_at_us))

    def write(self, name: str, primary: Primary) -> None:
        value = f"{primary.accepted_at_us} {primary.timeline}".encode()
        text = self._seal.mark(_marked(name, value)).encode() + value
        self._has_written = self._run(lambda: self._client.set(name, text)) is True

    def close(self) -> None:
        self._client.close()

    def _run(self, command: Callable[[], Any]) -> Any:
        """Return the answer; None while the server is away."""
        if not self._cooldown.allows():
            return None
        try:
            answer = command()
        except redis.exceptions.ResponseError as error:
            answer = str(error).encode()  # something else has the name; it has no genuine mark
        except redis.RedisError as error:
            self._cooldown.start()
            log.debug("database_timeline_not_remembered", error=type(error).__name__)
            return None
        self._cooldown.end()
        return answer


def timeline_memory(settings: Settings) -> TimelineMemory:
    """Return the memory of this installation: the cache, and a broker that can hold it.

    It connects when first used.
    """
    urls = [settings.cache_url]
    if is_redis(settings.broker_url):
        urls.append(settings.broker_url)
    seal = seal_of(settings, purpose="database timeline")
    # A cluster may hold several databases, and each is accepted by itself.
    database = read_url(settings.database_url).get("dbname", "")
    named = hashlib.sha256(database.encode()).hexdigest()[:16]
    return TimelineMemory(urls, key_prefix=f"{settings.key_prefix}{named}:", seal=seal)


def _marked(name: str, value: bytes) -> bytes:
    return name.encode() + b"\0" + value
