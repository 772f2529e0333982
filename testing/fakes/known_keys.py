"""Known keys for tests: credentials without a database, and key rings that find them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from api.auth.key_ring import KeyRing
from api.auth.outage_cache import OutageCache
from api.database_clock import DatabaseClock
from ledger.buffer.seal import Seal
from ledger.clients import Client
from ledger.ids import new_id
from ledger.keys.credentials import ApiKey, Credential, Found, KeyScope
from resilience.redis_client import connect
from testing.identity import KEY_PREFIX

NOTHING_KNOWN = OutageCache(
    connect("redis://127.0.0.1:1/0", 0.3),
    key_prefix=KEY_PREFIX,
    seal=Seal(["known-to-the-world-0123456789abcdef"], installation_id="test", purpose="test"),
)
"""An outage cache whose Redis is away."""


def found(
    client: Client,
    *,
    scope: KeyScope = "write",
    expires_at: datetime | None = None,
    at: datetime | None = None,
) -> Found:
    """Return what the database answers for a key of this client. at: its time; now by default."""
    at = at or datetime.now(UTC)
    key = ApiKey(new_id(), None, scope, "tp_", at, expires_at, None)
    return Found(Credential(client, key), at, is_noted=True)


def ring_of(find: Callable[[str], Client | None]) -> KeyRing:
    """Return a key ring that remembers nothing for an outage. find: the client of a key."""

    def look_up(api_key: str) -> Found | None:
        client = find(api_key)
        return None if client is None else found(client)

    return KeyRing(look_up, NOTHING_KNOWN, DatabaseClock())
