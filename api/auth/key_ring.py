"""Key ring: finds the client of an API key, and remembers it: for seconds, or for an outage.

Guarantees that keys are remembered as hashes only, and that a flood of made-up keys cannot push
the good ones out. A key that is revoked, expired, or whose client is disabled is refused within
KNOWN_FOR_S, and stays refused in an outage of the database that begins afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from cachetools import LRUCache, TTLCache

from api.auth.outage_cache import OutageCache
from api.auth.remembered import Remembered, RememberedKeys
from api.database_clock import DatabaseClock
from ledger.clients import hash_key
from ledger.errors import Unavailable
from ledger.keys.credentials import Credential, Found
from ledger.keys.revocations import SETTLED_AFTER, RefusedKey

KNOWN_FOR_S: Final = 8.0
"""Counted from the question to the database; a refusal reaches all processes within 10 s."""
UNKNOWN_FOR_S: Final = 1.0
KEPT_FOR: Final = timedelta(days=1)
"""How long a key is remembered for an outage."""
_MAX_KNOWN: Final = 10_000
_MAX_UNKNOWN: Final = 1_000

FindCredential = Callable[[str], Found | None]


class Watch(Protocol):
    """Asks the database for refused keys; see `api.auth.key_watch`."""

    def start(self, ring: KeyRing) -> None:
        """Begin, unless it has begun. Returns at once and never raises."""

    def look_now(self) -> None:
        """Ask now. Returns at once."""


class KeyRing:
    """Finds the credential of a key. Safe to use from many threads.

    A new key that was tried too early fails for up to UNKNOWN_FOR_S.
    """

    def __init__(
        self,
        find: FindCredential,
        outage_cache: OutageCache,
        clock: DatabaseClock,
        watch: Watch | None = None,
    ) -> None:
        """Make an empty one. find: reads the credential of a key from the database."""
        self._find = find
        self._watch = watch
        self._remembered = RememberedKeys(outage_cache)
        self._clock = clock
        self._lock = threading.Lock()
        # With the time, by `elapsed_s`, up to which it counts.
        self._known: LRUCache[bytes, tuple[Credential, float]] = LRUCache(_MAX_KNOWN)
        self._unknown: TTLCache[bytes, bool] = TTLCache(
            _MAX_UNKNOWN, UNKNOWN_FOR_S, clock.elapsed_s
        )
        self._for_an_outage: LRUCache[bytes, Remembered] = LRUCache(_MAX_KNOWN)
        self._refused: LRUCache[bytes, datetime] = LRUCache(_MAX_KNOWN)
        self._used: set[UUID] = set()

    def credential_of(self, api_key: str) -> Credential | None:
        """Return the credential, or None when the key does not work.

        Raises: Unavailable: when the database is away, and nothing is remembered of the key.
        """
        key_hash = hash_key(api_key)
        asked_at_s = self._clock.elapsed_s()
        with self._lock:
            credential, until_s = self._known.get(key_hash, (None, 0.0))
            is_unknown = key_hash in self._unknown
        if credential is not None and asked_at_s < until_s:
            return None if credential.key.has_expired(self._clock.now()) else credential
        if is_unknown:
            return None
        if self._watch is not None:
            self._watch.start(self)
        try:
            found = self._find(api_key)
        except Unavailable:
            credential = self._recall(key_hash)
        else:
            credential = self._remember(key_hash, found, asked_at_s)
        with self._lock:
            if credential is None:
                self._unknown[key_hash] = True
                self._known.pop(key_hash, None)
            else:
                self._known[key_hash] = credential, asked_at_s + KNOWN_FOR_S
        return credential

    def look_now(self) -> None:
        """Ask for refused keys now, because this process has just made one. Returns at once."""
        if self._watch is not None:
            self._watch.look_now()

    def refuse(self, keys: Iterable[RefusedKey]) -> None:
        """Forget keys that are refused from now on, here and in the cache. Harmless to repeat."""
        with self._lock:
            new = [key for key in keys if self._refused.get(key.key_hash) != key.at]
            for key in new:
                self._refused[key.key_hash] = key.at
                self._known.pop(key.key_hash, None)
                self._for_an_outage.pop(key.key_hash, None)
        self._remembered.refuse(new)

    def take_used(self) -> set[UUID]:
        """Return the keys that were used, and whose day of use is not recorded yet, once."""
        with self._lock:
            used, self._used = self._used, set()
        return used

    def _remember(
        self, key_hash: bytes, found: Found | None, asked_at_s: float
    ) -> Credential | None:
        """Remember what the database answers. Nothing is sent to the cache for made-up keys."""
        if found is None:
            with self._lock:
                was_good = self._for_an_outage.pop(key_hash, None) is not None
            if was_good:
                self.refuse([RefusedKey(key_hash, self._clock.now())])
            return None
        self._clock.set(found.at, asked_at_s=asked_at_s)
        remembered = Remembered(found.credential, found.at)
        with self._lock:
            self._for_an_outage[key_hash] = remembered
            if not found.is_noted and len(self._used) < _MAX_KNOWN:
                self._used.add(found.credential.key.id)
        self._remembered.keep(key_hash, remembered)
        return found.credential

    def _recall(self, key_hash: bytes) -> Credential | None:
        """Return what is remembered of a key while the database is away; None if it is refused.

        Raises: Unavailable: when nothing is remembered, or when it is too old to count.
        """
        now = self._clock.now()
        kept, refused_at = self._remembered.recall(key_hash)
        with self._lock:
            here = self._for_an_outage.get(key_hash)
            times = [at for at in (refused_at, self._refused.get(key_hash)) if at is not None]
        newest = max(
            (each for each in (here, kept) if each is not None),
            key=lambda each: each.at,
            default=None,
        )
        if times and (newest is None or newest.at < max(times)):
            return None
        if newest is None or now - newest.at > KEPT_FOR:
            raise Unavailable
        if newest.credential.key.has_expired(now):
            return None
        if times and newest.at - max(times) < SETTLED_AFTER:
            # Found good after it was refused: enabled again, or read just before the commit.
            raise Unavailable
        with self._lock:
            self._for_an_outage[key_hash] = newest
        return newest.credential
