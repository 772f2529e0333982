"""Remembered keys: what the cache keeps of good and of refused keys, for an outage.

Guarantees that a copy counts only as long as it says itself, which its signature covers: one that
somebody restores lives no longer, and a refusal that was written later outweighs it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from api.auth.outage_cache import OutageCache
from ledger.clients import Client
from ledger.keys.credentials import ApiKey, Credential
from ledger.keys.revocations import RefusedKey


@dataclass(frozen=True, slots=True)
class Remembered:
    """A credential that was good at this time by the database's clock."""

    credential: Credential
    at: datetime


class RememberedKeys:
    """Reads and writes the cache's copies. Nothing is found while the cache is away."""

    def __init__(self, outage_cache: OutageCache) -> None:
        self._outage_cache = outage_cache
        self._lock = threading.Lock()
        self._unwritten: dict[str, str] = {}

    def keep(self, key_hash: bytes, remembered: Remembered) -> None:
        """Keep a copy of what was found good, if the cache answers."""
        document = asdict(remembered)
        self._outage_cache.remember(_good(key_hash), json.dumps(document, default=str))

    def refuse(self, keys: Sequence[RefusedKey]) -> None:
        """Write that keys are refused, and drop their copies.

        What the cache did not take is written with the next call, also one without keys.
        """
        with self._lock:
            for key in keys:
                self._unwritten[_refused(key.key_hash)] = key.at.isoformat()
            self._unwritten = dict(list(self._unwritten.items())[-_MAX_UNWRITTEN:])
            marks = dict(list(self._unwritten.items())[:_AT_ONCE])
        copies = [_good(key.key_hash) for key in keys]
        if marks and self._outage_cache.remember_all(marks, forget=copies):
            with self._lock:
                for name in marks:
                    self._unwritten.pop(name, None)

    def recall(self, key_hash: bytes) -> tuple[Remembered | None, datetime | None]:
        """Return the copy of a key, and when the key was refused, each if there is one."""
        good, refused = self._outage_cache.recall_all([_good(key_hash), _refused(key_hash)])
        return (
            None if good is None else _read(json.loads(good)),
            None if refused is None else datetime.fromisoformat(refused),
        )


_MAX_UNWRITTEN = 10_000
_AT_ONCE = 1_000


def _good(key_hash: bytes) -> str:
    return f"key:{key_hash.hex()}"


def _refused(key_hash: bytes) -> str:
    return f"refused:{key_hash.hex()}"


def _read(document: dict[str, Any]) -> Remembered:
    """Return what `keep` wrote: the signature has proven that we did."""
    client, key = document["credential"]["client"], document["credential"]["key"]
    times = {
        name: None if key[name] is None else datetime.fromisoformat(key[name])
        for name in ("created_at", "expires_at")
    }
    used_on = key["last_used_on"] and date.fromisoformat(key["last_used_on"])
    return Remembered(
        Credential(
            Client(**client | {"id": UUID(client["id"])}),
            ApiKey(**key | times | {"id": UUID(key["id"]), "last_used_on": used_on}),
        ),
        datetime.fromisoformat(document["at"]),
    )
