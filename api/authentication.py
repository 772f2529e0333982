"""Who calls: the client behind an API key.

Guarantees that keys are remembered hashed only, for seconds only, and that a flood of
made-up keys cannot push the good ones out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from cachetools import TTLCache
from flask import g, request

from api.problems import Problem
from ledger.clients import Client, hash_key
from ledger.errors import Forbidden

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
        self, find: Callable[[str], Client | None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._known: TTLCache[bytes, Client] = TTLCache(_MAX_KNOWN, KNOWN_FOR_S, clock)
        self._unknown: TTLCache[bytes, bool] = TTLCache(_MAX_UNKNOWN, UNKNOWN_FOR_S, clock)

    def client_of(self, api_key: str) -> Client | None:
        """Return the client, or None when nobody has this key.

        Raises: Unavailable: when the database is needed and does not answer.
        """
        key_hash = hash_key(api_key)
        with self._lock:
            client = self._known.get(key_hash)
            if client is not None or key_hash in self._unknown:
                return client
        client = self._find(api_key)
        with self._lock:
            if client is None:
                self._unknown[key_hash] = True
            else:
                self._known[key_hash] = client
        return client


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
