"""Clients: the programs that may call, and their API keys.

Guarantees that a key can be checked but not read back: only its SHA-256 is stored. The
keys are 256 random bits, so a slow password hash would protect nothing and cost much.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, cast
from uuid import UUID

from sqlalchemy import ARRAY, Connection, Text, Uuid, bindparam, func, insert, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import insert as upsert

from ledger.ids import new_id
from ledger.postgres import schema
from ledger.postgres.bulk_rows import array_literal

Scope = Literal["client", "admin"]


@dataclass(frozen=True, slots=True)
class Client:
    """A program that calls the API. Its id is the namespace of its idempotency keys."""

    id: UUID
    name: str
    scope: Scope
    rate_limit: str | None
    """Of its writes. None: it was made before clients got one; its address is limited."""
    item_limit: str | None = None
    """Of the transfers that it stores; None for the default."""

    @property
    def is_admin(self) -> bool:
        return self.scope == "admin"


def create_client(
    connection: Connection,
    *,
    name: str,
    scope: Scope,
    rate_limit: str | None,
    item_limit: str | None = None,
) -> tuple[Client, str]:
    """Create a client and its API key.

    rate_limit, item_limit: such as "1000/minute", or "none"; None for none of its own.
    Returns: the client, and its key in clear, which cannot be read again later.
    """
    api_key = f"tp_{secrets.token_urlsafe(32)}"
    client = Client(new_id(), name, scope, rate_limit, item_limit)
    connection.execute(insert(schema.clients).values(_row(client, api_key)))
    return client, api_key


def ensure_admin(connection: Connection, api_key: str) -> None:
    """Create an admin client with this key. Harmless when it exists."""
    client = Client(new_id(), "admin", "admin", "none", "none")
    connection.execute(
        upsert(schema.clients).values(_row(client, api_key)).on_conflict_do_nothing()
    )


def ensure_first_admin(connection: Connection, api_key: str) -> bool:
    """Create an admin client with this key if there is no admin yet. Harmless to repeat.

    Two callers at once may both create one: hold the lock of the migrations meanwhile.
    Returns: whether one was created.
    """
    table = schema.clients
    if connection.execute(select(table.c.id).where(table.c.scope == "admin").limit(1)).first():
        return False
    ensure_admin(connection, api_key)
    return True


def find_client(connection: Connection, api_key: str) -> Client | None:
    """Return the client that has this key, if any."""
    table = schema.clients
    columns = (table.c.id, table.c.name, table.c.scope, table.c.rate_limit, table.c.item_limit)
    query = select(*columns).where(table.c.key_hash == hash_key(api_key))
    row = connection.execute(query).one_or_none()
    return row and Client(row.id, row.name, cast(Scope, row.scope), row.rate_limit, row.item_limit)


def find_clients(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Client]:
    """Return the clients with these ids, by id; ids that no client has are left out."""
    found = connection.execute(_BY_IDS, {"ids": array_literal(ids)})
    return {
        row.id: Client(row.id, row.name, cast(Scope, row.scope), row.rate_limit) for row in found
    }


def hash_key(api_key: str) -> bytes:
    """Return the SHA-256 of a key: the only thing that is stored of it."""
    return hashlib.sha256(api_key.encode()).digest()


_c = schema.clients.c
_BY_IDS = select(_c.id, _c.name, _c.scope, _c.rate_limit).where(
    _c.id == func.any(sql_cast(bindparam("ids", type_=Text()), ARRAY(Uuid)))
)


def _row(client: Client, api_key: str) -> dict[str, object]:
    return {
        "id": client.id,
        "name": client.name,
        "scope": client.scope,
        "rate_limit": client.rate_limit,
        "item_limit": client.item_limit,
        "key_hash": hash_key(api_key),
    }
