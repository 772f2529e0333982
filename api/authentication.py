"""Who calls: the client behind an API key.

Guarantees that keys are remembered hashed only, and that a flood of made-up keys cannot push
the good ones out. What is remembered counts for seconds; only while the database is away, the
client that it named last goes on being let in.
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

from api.last_known import LastKnown
from api.problems import Problem
from ledger.clients import Client, hash_key
from ledger.errors import Forbidden, Unavailable

KNOWN_FOR_S = 10.0
UNKNOWN_FOR_S = 1.0
_MAX_KNOWN = 10_000
_MAX_UNKNOWN = 1_000
_MAX_KEY_LENGTH = 256


class KeyRing:
    """Finds the client of a key, and remembers for a short time what it found.

    So a revoked key works for up to KNOWN_FOR_S, and a new one that was tried too early
    fails for up to UNKNOWN_FOR_S.
    """

    def __init__(
        self,
        find: Callable[[str], Client | None],
        last_known: LastKnown,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take how to ask the database, and what to go by while that is away."""
        self._find = find
        self._last_known = last_known
        self._lock = threading.Lock()
        self._known: TTLCache[bytes, Client] = TTLCache(_MAX_KNOWN, KNOWN_FOR_S, clock)
        self._unknown: TTLCache[bytes, bool] = TTLCache(_MAX_UNKNOWN, UNKNOWN_FOR_S, clock)
        self._seen: LRUCache[bytes, Client] = LRUCache(_MAX_KNOWN)

    def client_of(self, api_key: str) -> Client | None:
        """Return the client, or None when nobody has this key.

        Raises: Unavailable: when the database is away and has not named this key's client
        lately.
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
            was = self._seen.get(key_hash)
            if client is None:
                self._unknown[key_hash] = True
                self._seen.pop(key_hash, None)
            else:
                self._known[key_hash] = self._seen[key_hash] = client
        # A flood of made-up keys costs the cache nothing: they were never seen.
        if client is not None:
            self._last_known.remember(_name(key_hash), _written(client))
        elif was is not None:
            self._last_known.forget(_name(key_hash))

    def _recall(self, key_hash: bytes) -> Client | None:
        with self._lock:
            client = self._seen.get(key_hash)
        if client is None:
            kept = self._last_known.recall(_name(key_hash))
            if kept is None:
                return None
            client = _read(kept)
            with self._lock:
                self._seen[key_hash] = client
        return client


def _name(key_hash: bytes) -> str:
    return f"client:{key_hash.hex()}"


def _written(client: Client) -> str:
    return json.dumps([str(client.id), client.name, client.scope, client.rate_limit])


def _read(text: str) -> Client:
    id, name, scope, rate_limit = json.loads(text)
    return Client(UUID(id), name, scope, rate_limit)


def authenticate(keys: KeyRing, *, count_failure: Callable[[], None]) -> None:
    """Find out who calls, once per request.

    Raises: Problem unauthenticated, or what `count_failure` raises when there were too many.
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
    """Return the caller. Raises: Forbidden: when it is no admin."""
    client = caller()
    if not client.is_admin:
        raise Forbidden
    return client
