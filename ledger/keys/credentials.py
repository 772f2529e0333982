"""Credentials: an API key with its client, as found by the key that a request sends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, bindparam, func, or_, select

from ledger import clients
from ledger.clients import Client, client_of, hash_key
from ledger.postgres import schema

KeyScope = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of a client, without its secret. `prefix` is None for a key that we did not make."""

    id: UUID
    name: str | None
    scope: KeyScope
    prefix: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_on: date | None

    def has_expired(self, now: datetime) -> bool:
        """Tell whether it has expired. now: by the database's clock."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True)
class Credential:
    """A key that works, and the client it belongs to."""

    client: Client
    key: ApiKey


@dataclass(frozen=True, slots=True)
class Found:
    """A credential, the database's time at which it was found, and whether it is used today."""

    credential: Credential
    at: datetime
    is_noted: bool
    """Whether `last_used_on` is today already."""


def find_credential(connection: Connection, api_key: str) -> Found | None:
    """Return the credential of a key, if it works: of an active client, not revoked, not expired.

    One statement, by an index, whatever the result.
    """
    row = connection.execute(_FIND, {"hash": hash_key(api_key)}).one_or_none()
    if row is None:
        return None
    client, key = client_of(row[: len(clients.COLUMNS)]), api_key_of(row[len(clients.COLUMNS) : -2])
    return Found(Credential(client, key), row.at, is_noted=row.is_noted)


def api_key_of(row: Any) -> ApiKey:
    """Return the key of a row that begins with KEY_COLUMNS."""
    id, name, scope, prefix, created_at, expires_at, last_used_on = row
    return ApiKey(id, name, cast(KeyScope, scope), prefix, created_at, expires_at, last_used_on)


def is_live() -> ColumnElement[bool]:
    """Return the condition that a key is neither revoked nor expired, by the database's clock."""
    is_current = or_(_k.expires_at.is_(None), _k.expires_at > func.clock_timestamp())
    return _k.revoked_at.is_(None) & is_current


_k = schema.api_keys.c
KEY_COLUMNS = (_k.id, _k.name, _k.scope, _k.prefix, _k.created_at, _k.expires_at, _k.last_used_on)
"""What `api_key_of` reads."""
TODAY = func.date(func.timezone("UTC", func.now()))

_FIND = (
    select(
        *clients.COLUMNS,
        *KEY_COLUMNS,
        func.clock_timestamp().label("at"),
        (func.coalesce(_k.last_used_on, "-infinity") >= TODAY).label("is_noted"),
    )
    .join_from(schema.api_keys, schema.clients, schema.clients.c.id == _k.client_id)
    .where(_k.key_hash == bindparam("hash"), is_live(), schema.clients.c.status == "active")
)
