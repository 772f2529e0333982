"""Changes of keys and clients: makes, lists and revokes keys; disables and enables clients.

Guarantees that a client has at most MAX_LIVE_KEYS that work, that nobody makes a key with more
power than the one it was made with, and that a revoked key never works again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, func, insert, literal, select, tuple_, update

from ledger.clients import (
    RECORDS,
    ClientRecord,
    client_record,
    generate_key,
    get_client,
    hash_key,
    prefix_of,
)
from ledger.errors import Forbidden, InvalidField, InvalidState, NotFound
from ledger.ids import new_id
from ledger.keys.credentials import (
    KEY_COLUMNS,
    ApiKey,
    Credential,
    KeyScope,
    api_key_of,
    is_live,
)
from ledger.keys.last_admin import lock_admins, require_admin_left
from ledger.postgres import schema

MAX_LIVE_KEYS: Final = 10
"""The most keys of a client that are neither revoked nor expired."""


def create_key(
    connection: Connection,
    client_id: UUID,
    *,
    by: Credential,
    name: str | None,
    scope: KeyScope,
    expires_at: datetime | None,
) -> tuple[ApiKey, str]:
    """Make another key for a client.

    by: the credential that asks for it.
    Returns: the key, and its secret, which cannot be read again later.
    Raises: NotFound: when there is no such client, or the caller may not see it. Forbidden:
    when the key would do more, or live longer, than the one of `by`. InvalidField: when
    `expires_at` is past. InvalidState: when the client has MAX_LIVE_KEYS already.
    """
    _require_sight(by, client_id)
    owner = _lock_client(connection, client_id)
    # A key for a client with less power is an admin's business, however long it lives.
    require_power(by, expires_at, is_lesser=by.client.is_admin and not owner.client.is_admin)
    now = connection.execute(select(func.clock_timestamp())).scalar_one()
    if expires_at is not None and expires_at <= now:
        raise InvalidField("/expires_at", "must be in the future")
    live = select(func.count()).where(_k.client_id == client_id, is_live())
    if connection.execute(live).scalar_one() >= MAX_LIVE_KEYS:
        raise InvalidState(f"The client has {MAX_LIVE_KEYS} keys. Delete one first.")
    secret = generate_key()
    key = ApiKey(new_id(), name, scope, prefix_of(secret), now, expires_at, last_used_on=None)
    values = {column.name: getattr(key, column.name) for column in KEY_COLUMNS}
    connection.execute(
        insert(schema.api_keys).values(**values, client_id=client_id, key_hash=hash_key(secret))
    )
    return key, secret


def require_power(by: Credential, expires_at: datetime | None, *, is_lesser: bool) -> None:
    """Refuse to make a key that does more, or lives longer, than the one that asks for it.

    is_lesser: whether the new key's client has less power, so that its life does not matter.
    Raises: Forbidden.
    """
    if by.key.scope != "write":
        raise Forbidden("A key with the scope read makes no keys.")
    ends_at = by.key.expires_at
    if ends_at is not None and not is_lesser and (expires_at is None or expires_at > ends_at):
        raise Forbidden(
            "Your key expires, and a key made with it may not live longer than it does."
        )


def list_keys(
    connection: Connection,
    client_id: UUID,
    *,
    by: Credential,
    limit: int,
    after: tuple[datetime, UUID] | None,
) -> list[ApiKey]:
    """Return the keys of a client that are not revoked, oldest first.

    after: (created_at, id) of the last key of the previous page.
    Raises: NotFound: when there is no such client, or the caller may not see it.
    """
    _require_sight(by, client_id)
    get_client(connection, client_id)
    query = select(*KEY_COLUMNS).where(_k.client_id == client_id, _k.revoked_at.is_(None))
    if after is not None:
        query = query.where(tuple_(_k.created_at, _k.id) > tuple_(*map(literal, after)))
    query = query.order_by(_k.created_at, _k.id).limit(limit)
    return [api_key_of(row) for row in connection.execute(query)]


def revoke_key(connection: Connection, client_id: UUID, key_id: UUID, *, by: Credential) -> None:
    """End a key for good. Harmless when it was revoked before.

    Raises: NotFound: when the client has no such key, or the caller may not see it.
    InvalidState: when it is the last key of the last admin.
    """
    _require_sight(by, client_id)
    owner = _lock_client(connection, client_id)
    of_client = (_k.id == key_id) & (_k.client_id == client_id)
    found = connection.execute(select(_k.revoked_at).where(of_client)).one_or_none()
    if found is None:
        raise NotFound
    if found.revoked_at is not None:
        return
    if owner.client.is_admin:
        require_admin_left(connection, without_key=key_id)
    connection.execute(
        update(schema.api_keys).where(of_client).values(revoked_at=func.clock_timestamp())
    )


def disable_client(connection: Connection, client_id: UUID) -> ClientRecord:
    """Refuse all keys of a client from now on. What is under way goes on. Harmless to repeat.

    Raises: NotFound · InvalidState: when it is the last active admin.
    """
    record = _lock_client(connection, client_id)
    if record.status == "disabled":
        return record
    if record.client.is_admin:
        require_admin_left(connection, without_client=client_id)
    return _set_status(
        connection,
        client_id,
        status="disabled",
        disabled_at=func.clock_timestamp(),
        enabled_at=None,
    )


def enable_client(connection: Connection, client_id: UUID) -> ClientRecord:
    """Undo `disable_client`: its keys that are not revoked work again. Harmless to repeat.

    Raises: NotFound.
    """
    record = _lock_client(connection, client_id)
    if record.status == "active":
        return record
    return _set_status(connection, client_id, status="active", enabled_at=func.clock_timestamp())


def _set_status(connection: Connection, client_id: UUID, **values: object) -> ClientRecord:
    change = update(schema.clients).where(schema.clients.c.id == client_id).values(**values)
    connection.execute(change)
    return get_client(connection, client_id)


def _lock_client(connection: Connection, client_id: UUID) -> ClientRecord:
    """Return a client, and let nobody else change it or its keys before the transaction ends."""
    if get_client(connection, client_id).client.is_admin:
        lock_admins(connection)
    query = RECORDS.where(schema.clients.c.id == client_id)
    # Not FOR UPDATE, which would make everybody wait who makes a wallet for this client.
    return client_record(connection.execute(query.with_for_update(key_share=True)).one())


def _require_sight(by: Credential, client_id: UUID) -> None:
    """Raises: NotFound: when the keys of this client are not the caller's business."""
    if not by.client.is_admin and by.client.id != client_id:
        raise NotFound


_k = schema.api_keys.c
