"""Clients: the programs that may call, each with API keys, and what is stored of a key.

Guarantees that a key can be checked but not read back: only its SHA-256 is stored. The
keys are 256 random bits, so a slow password hash would protect nothing and cost much.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Connection,
    Text,
    Uuid,
    bindparam,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy import cast as sql_cast

from ledger.errors import NotFound
from ledger.ids import new_id
from ledger.postgres import schema
from ledger.postgres.bulk_rows import array_literal

Scope = Literal["client", "admin"]
ClientStatus = Literal["active", "disabled"]

_SHOWN_CHARACTERS = 10
"""Of a generated key: seven of its 43 random characters tell keys apart, and no one guesses it."""


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


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """A client as it is stored, with its status."""

    client: Client
    status: ClientStatus
    created_at: datetime


def create_client(
    connection: Connection,
    *,
    name: str,
    scope: Scope,
    rate_limit: str | None,
    item_limit: str | None = None,
    client_id: UUID | None = None,
) -> tuple[Client, str]:
    """Create a client and its first API key, which may write and does not expire.

    rate_limit, item_limit: such as "1000/minute", or "none"; None for none of its own.
    client_id: None for a new one.
    Returns: the client, and its key in clear, which cannot be read again later.
    """
    api_key = generate_key()
    client = Client(client_id or new_id(), name, scope, rate_limit, item_limit)
    insert_client(connection, client, key_hash=hash_key(api_key))
    connection.execute(
        update(schema.api_keys)
        .where(schema.api_keys.c.key_hash == hash_key(api_key))
        .values(prefix=prefix_of(api_key))
    )
    return client, api_key


def insert_client(connection: Connection, client: Client, *, key_hash: bytes) -> None:
    """Insert a client. A trigger makes the row of its first key, as it does for version 1.0."""
    connection.execute(insert(schema.clients).values(**asdict(client), key_hash=key_hash))


def get_client(connection: Connection, client_id: UUID) -> ClientRecord:
    """Return a client. Raises: NotFound: when there is none."""
    row = connection.execute(RECORDS.where(schema.clients.c.id == client_id)).one_or_none()
    if row is None:
        raise NotFound
    return client_record(row)


def list_clients(
    connection: Connection, *, limit: int, after: tuple[datetime, UUID] | None
) -> list[ClientRecord]:
    """Return the clients, oldest first.

    after: (created_at, id) of the last client of the previous page.
    """
    table = schema.clients
    query = RECORDS.order_by(table.c.created_at, table.c.id).limit(limit)
    if after is not None:
        query = query.where(tuple_(table.c.created_at, table.c.id) > tuple_(*map(literal, after)))
    return [client_record(row) for row in connection.execute(query)]


def find_clients(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Client]:
    """Return the clients with these ids, by id; ids that no client has are left out."""
    rows = connection.execute(_BY_IDS, {"ids": array_literal(ids)})
    return {row.id: client_of(row) for row in rows}


_c = schema.clients.c
COLUMNS = (_c.id, _c.name, _c.scope, _c.rate_limit, _c.item_limit)
"""What `client_of` reads."""
RECORDS = select(*COLUMNS, _c.status, _c.created_at)
"""What `client_record` reads."""
_BY_IDS = select(*COLUMNS).where(
    _c.id == func.any(sql_cast(bindparam("ids", type_=Text()), ARRAY(Uuid)))
)


def client_of(row: Any) -> Client:
    """Return the client of a row of COLUMNS."""
    id, name, scope, rate_limit, item_limit = row
    return Client(id, name, cast(Scope, scope), rate_limit, item_limit)


def client_record(row: Any) -> ClientRecord:
    """Return the client of a row of RECORDS."""
    *client, status, created_at = row
    return ClientRecord(client_of(client), cast(ClientStatus, status), created_at)


def generate_key() -> str:
    """Return a new API key: 256 random bits."""
    return f"tp_{secrets.token_urlsafe(32)}"


def prefix_of(api_key: str) -> str:
    """Return the beginning of a generated key, by which its owner recognizes it."""
    return api_key[:_SHOWN_CHARACTERS]


def hash_key(api_key: str) -> bytes:
    """Return the SHA-256 of a key: the only thing that is stored of it."""
    return hashlib.sha256(api_key.encode()).digest()
