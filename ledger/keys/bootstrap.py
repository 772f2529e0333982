"""Bootstrap admin: the one admin whose key is the setting ADMIN_API_KEY.

Guarantees that a key which was replaced never comes back, in whatever order processes with the
old and the new setting start. The callers hold the lock of the migrations, so they take turns.
"""

from __future__ import annotations

import enum
from uuid import UUID

from sqlalchemy import Connection, exists, func, insert, select, update

from ledger.clients import Client, hash_key, insert_client
from ledger.ids import new_id
from ledger.keys.credentials import is_live
from ledger.keys.last_admin import lock_admins
from ledger.postgres import schema


class AdminKey(enum.Enum):
    """What has become of the key in ADMIN_API_KEY, as a message."""

    MADE = "made the first admin, whose key is ADMIN_API_KEY"
    KNOWN = "ADMIN_API_KEY is the key of an admin already"
    REPLACED = (
        "ADMIN_API_KEY is new: it has replaced the key of the first admin, which is refused from "
        "now on"
    )
    ENDED = (
        "ADMIN_API_KEY was replaced or revoked before, or its admin is disabled, so it is refused. "
        "Set it to the newest key, or to a new one, which then replaces that of the first admin"
    )
    OF_A_CLIENT = (
        "ADMIN_API_KEY is the key of a client that is no admin. Set it to a new one, which then "
        "becomes the key of the first admin"
    )
    NOT_NEEDED = (
        "there is an admin already, so the key that was generated is not used. To replace the "
        "key of the first admin, give a new one in ADMIN_API_KEY"
    )


def set_admin_key(connection: Connection, api_key: str, *, is_generated: bool) -> AdminKey:
    """Make this the key of the bootstrap admin, unless it was a key before. Harmless to repeat.

    is_generated: a key that nobody chose. It makes the first admin, and replaces no key.
    """
    lock_admins(connection)
    key_hash = hash_key(api_key)
    query = select(_c.id, _c.scope, (is_live() & (_c.status == "active")).label("works"))
    known = connection.execute(
        query.where(_c.id == _k.client_id, _k.key_hash == key_hash)
    ).one_or_none()
    if known is not None:
        if known.scope == "admin" and known.works:
            _mark(connection, known.id, key_hash)
            return AdminKey.KNOWN
        return AdminKey.ENDED if known.scope == "admin" else AdminKey.OF_A_CLIENT
    # Version 1.0 marked none, and made an admin for each value of ADMIN_API_KEY.
    admins = select(_c.id).where(_c.scope == "admin")
    admins = admins.order_by(_c.is_bootstrap.desc(), _c.created_at, _c.id).limit(1)
    admin_id = connection.execute(admins).scalar()
    if admin_id is None:
        admin = Client(new_id(), "admin", "admin", "none", "none")
        insert_client(connection, admin, key_hash=key_hash)
        _mark(connection, admin.id, key_hash)
        return AdminKey.MADE
    if is_generated:
        return AdminKey.NOT_NEEDED
    first = select(_k.key_hash).where(_k.client_id == admin_id)
    first = first.order_by(_k.created_at, _k.id).limit(1)
    _mark(connection, admin_id, bytes(connection.execute(first).scalar_one()))
    _replace_key(connection, admin_id, key_hash)
    return AdminKey.REPLACED


def _mark(connection: Connection, admin_id: UUID, key_hash: bytes) -> None:
    """Mark an admin as the bootstrap admin, with its key, if none is marked yet."""
    is_unmarked = ~exists().where(_c.is_bootstrap).correlate(None)
    mark = update(schema.clients).where(_c.id == admin_id, is_unmarked).values(is_bootstrap=True)
    if connection.execute(mark).rowcount:
        connection.execute(
            update(schema.api_keys).where(_k.key_hash == key_hash).values(is_bootstrap=True)
        )


def _replace_key(connection: Connection, admin_id: UUID, key_hash: bytes) -> None:
    """End the admin's bootstrap key, and give it this one. The keys that it made itself stay."""
    id = new_id()
    # The new one first: version 1.0 is given a key that the client still has.
    connection.execute(
        insert(schema.api_keys).values(
            id=id,
            client_id=admin_id,
            name="ADMIN_API_KEY",
            scope="write",
            key_hash=key_hash,
            is_bootstrap=True,
        )
    )
    old = _k.is_bootstrap & (_k.client_id == admin_id) & _k.revoked_at.is_(None) & (_k.id != id)
    connection.execute(update(schema.api_keys).where(old).values(revoked_at=func.clock_timestamp()))
    # Who sets the key wants it to work, also after somebody has disabled the admin.
    disabled = (_c.id == admin_id) & (_c.status == "disabled")
    connection.execute(
        update(schema.clients)
        .where(disabled)
        .values(status="active", enabled_at=func.clock_timestamp())
    )


_c = schema.clients.c
_k = schema.api_keys.c
