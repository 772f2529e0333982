"""API keys: finds the client of a key, and remembers it for a short time.

Guarantees that keys are remembered as hashes only, and that a flood of made-up keys cannot
push the good ones out. Normally a remembered client counts for seconds; while the database is
away, the client that it returned last for a key may go on.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from uuid import UUID

from cachetools import LRUCache, TTLCache
from flask import g, request
from structlog.contextvars import bind_contextvars

from api.auth.outage_cache import OutageCache
from api.http.problems import Problem
from ledger.clients import Client, hash_key
from ledger.errors import Forbidden, Unavailable

KNOWN_FOR_S = 10.0
UNKNOWN_FOR_S = 1.0
_MAX_KNOWN = 10_000
_MAX_UNKNOWN = 1_000
_MAX_KEY_LENGTH = 256


class KeyRing:
    """Finds the client of a key, and remembers the result for a short time.

    So a revoked key works for up to KNOWN_FOR_S more, and a new key that was tried too early
    fails for up to UNKNOWN_FOR_S.
    """

    def __init__(
        self,
        find: Callable[[str], Client | None],
        outage_cache: OutageCache,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an empty one. find: reads the client of a key from the database."""
        self._find = find
        self._outage_cache = outage_cache
        self._lock = threading.Lock()
        self._known: TTLCache[bytes, Client] = TTLCache(_MAX_KNOWN, KNOWN_FOR_S, clock)
        self._unknown: TTLCache[bytes, bool] = TTLCache(_MAX_UNKNOWN, UNKNOWN_FOR_S, clock)
        self._last: LRUCache[bytes, Client] = LRUCache(_MAX_KNOWN)  # for an outage

    def client_of(self, api_key: str) -> Client | None:
        """Return the client, or None when no client has this key.

        Raises: Unavailable: when the database is away and the key's client is not remembered.
        """
        key_hash = hash_key(api_key)
        with self._lock:
            client = self._known.get(key_hash)
            if client is not None or key_hash in self._unknown:
                return client
        try:
            client = self._find(api_key)
        except Unavailable:
            client = self._recall(key_hash)
            if client is None:
                raise
            return client
        self._remember(key_hash, client)
        return client

    def _remember(self, key_hash: bytes, client: Client | None) -> None:
        with self._lock:
            before = self._last.get(key_hash)
            if client is None:
                self._unknown[key_hash] = True
                self._last.pop(key_hash, None)
            else:
                self._known[key_hash] = self._last[key_hash] = client
        # Nothing is sent to the cache for made-up keys: they never had a client.
        if client is not None:
            text = json.dumps([str(client.id), client.name, client.scope, client.rate_limit])
            self._outage_cache.remember(_name(key_hash), text)
        elif before is not None:
            self._outage_cache.forget(_name(key_hash))

    def _recall(self, key_hash: bytes) -> Client | None:
        with self._lock:
            client = self._last.get(key_hash)
        if client is None:
            kept = self._outage_cache.recall(_name(key_hash))
            if kept is None:
                return None
            id, name, scope, rate_limit = json.loads(kept)
            client = Client(UUID(id), name, scope, rate_limit)
            with self._lock:
                self._last[key_hash] = client
        return client


def _name(key_hash: bytes) -> str:
    return f"client:{key_hash.hex()}"


def authenticate(keys: KeyRing, *, count_failure: Callable[[], None]) -> None:
    """Find the client of the request, once per request, for `caller`.

    Raises: Problem unauthenticated; or what `count_failure` raises after too many failures.
    """
    scheme, _, api_key = request.headers.get("Authorization", "").partition(" ")
    api_key = api_key.strip()
    client = None
    if scheme.lower() == "bearer" and 0 < len(api_key) <= _MAX_KEY_LENGTH:
        client = keys.client_of(api_key)
    if client is None:
        count_failure()
        raise Problem(
            "unauthenticated",
            "Send a valid API key as: Authorization: Bearer KEY",
            headers={"WWW-Authenticate": "Bearer"},
        )
    g.caller = client
    bind_contextvars(client_id=str(client.id))


def caller() -> Client:
    """Return the client that made the request, which `authenticate` has found."""
    client: Client = g.caller
    return client


def is_caller_known() -> bool:
    """Tell whether `authenticate` has found a client."""
    return "caller" in g


def admin() -> Client:
    """Return the client that made the request. Raises: Forbidden: when it is no admin."""
    client = caller()
    if not client.is_admin:
        raise Forbidden
    return client
