"""Identifiers: deterministic for transfers, time-ordered for everything else."""

from __future__ import annotations

import os
import time
from uuid import UUID, uuid5


def transfer_id(client_id: UUID, idempotency_key: str) -> UUID:
    """Return the id of the only transfer that this client can make with this key.

    A name-based UUIDv5 (RFC 9562, section 5.5) with the client as its namespace. So the
    id is known without a database, and the primary key makes a repeated request harmless.
    """
    return uuid5(client_id, idempotency_key)


def new_id() -> UUID:
    """Return a new UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)
