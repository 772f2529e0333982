"""Last admin: keeps changes of keys and clients from leaving nobody who may manage them.

Guarantees it under races: what takes power from an admin holds one lock until the commit.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, exists, func, select

from ledger.errors import InvalidState
from ledger.keys.credentials import is_live
from ledger.postgres import schema

_LOCK_KEY = 0x7472_7565_6164_6D69
"""A number of our own: the letters "trueadmi"."""


def lock_admins(connection: Connection) -> None:
    """Let nobody else change admins or their keys before the transaction ends.

    Call it before any row is locked: all callers take their locks in this order.
    """
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))


def require_admin_left(
    connection: Connection, *, without_client: UUID | None = None, without_key: UUID | None = None
) -> None:
    """Refuse to go on unless an active admin has a key that may write. Needs `lock_admins`.

    without_client, without_key: what is about to end, and does not count.
    Raises: InvalidState: when there would be none.
    """
    client, key = schema.clients.c, schema.api_keys.c
    left = exists().where(
        client.id == key.client_id,
        client.scope == "admin",
        client.status == "active",
        key.scope == "write",
        is_live(),
    )
    if without_client is not None:
        left = left.where(client.id != without_client)
    if without_key is not None:
        left = left.where(key.id != without_key)
    if not connection.scalar(select(left)):
        raise InvalidState(
            "This would leave no active admin with a key that may write. Make another one first."
        )
