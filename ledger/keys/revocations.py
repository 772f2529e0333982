"""Revocations: which keys were refused lately, for the processes that remember keys.

Guarantees that a process which asks again and again misses none, also one that was committed
late: it passes the newest time that it knows, and gets what is up to SETTLED_AFTER older.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Connection,
    DateTime,
    Text,
    Uuid,
    bindparam,
    cast,
    exists,
    func,
    or_,
    select,
    tuple_,
    union_all,
    update,
)

from ledger.keys.credentials import TODAY
from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, array_literal, rows_argument, rows_parameter

SETTLED_AFTER: Final = timedelta(seconds=60)
"""Longer than between the time of a revocation and its commit: statements have time-outs."""
PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class RefusedKey:
    """A key that was revoked, or whose client was disabled, and when."""

    key_hash: bytes
    at: datetime


def refused_since(
    connection: Connection, since: datetime, *, after: RefusedKey | None = None
) -> list[RefusedKey]:
    """Return at most PAGE keys that are refused since `since` or SETTLED_AFTER before, in order.

    after: the last one of the previous page.
    """
    earliest = after or RefusedKey(b"", since - SETTLED_AFTER)
    rows = connection.execute(_REFUSED, {"at": earliest.at, "hash": earliest.key_hash})
    return [RefusedKey(bytes(row.key_hash), row.at) for row in rows]


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A request of a client, with its key if that is known, and its time."""

    client_id: UUID
    key_id: UUID | None
    at: datetime


def keys_ended(connection: Connection, uses: Sequence[KeyUse]) -> list[bool]:
    """Tell of each use whether the key had ended then, or its client was disabled; in order."""
    rows = [(use.client_id, use.key_id, use.at.astimezone(UTC).isoformat()) for use in uses]
    ended = set(connection.scalars(_ENDED, rows_argument(_USED, rows)))
    return [position in ended for position in range(1, len(uses) + 1)]


def database_time(connection: Connection) -> datetime:
    """Return the time by the database's clock."""
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now


def note_use(connection: Connection, key_ids: Collection[UUID]) -> None:
    """Record that these keys were used today, at most once a day each. Harmless to repeat."""
    if key_ids:
        connection.execute(_NOTE_USE, {"ids": array_literal(key_ids)})


_c = schema.clients.c
_k = schema.api_keys.c

_revoked = select(_k.key_hash, _k.revoked_at.label("at")).where(
    tuple_(_k.revoked_at, _k.key_hash) > tuple_(bindparam("at"), bindparam("hash"))
)
_of_disabled = (
    select(_k.key_hash, _c.disabled_at.label("at"))
    .join_from(schema.clients, schema.api_keys, _k.client_id == _c.id)
    .where(
        _c.status == "disabled",
        _k.revoked_at.is_(None),
        _c.disabled_at >= bindparam("at"),
        tuple_(_c.disabled_at, _k.key_hash) > tuple_(bindparam("at"), bindparam("hash")),
    )
)
_refused = union_all(_revoked, _of_disabled).subquery()
_REFUSED = select(_refused).order_by(_refused.c.at, _refused.c.key_hash).limit(PAGE)

_USED: Columns = {"client_id": Uuid(), "key_id": Uuid(), "at": DateTime(timezone=True)}
_use = rows_parameter("given", _USED)
_was_disabled = exists().where(
    _c.id == _use.c.client_id,
    _c.disabled_at <= _use.c.at,
    or_(_c.enabled_at.is_(None), _use.c.at < _c.enabled_at),
)
_key_worked = exists().where(
    _k.id == _use.c.key_id,
    _k.client_id == _use.c.client_id,
    _k.scope == "write",
    or_(_k.revoked_at.is_(None), _use.c.at < _k.revoked_at),
    or_(_k.expires_at.is_(None), _use.c.at < _k.expires_at),
)
_ENDED = select(_use.c.position).where(
    or_(_was_disabled, _use.c.key_id.is_not(None) & ~_key_worked)
)

_is_due = or_(_k.last_used_on.is_(None), _k.last_used_on < TODAY)
_given = _k.id == func.any(cast(bindparam("ids", type_=Text()), ARRAY(Uuid)))
# Keys that another process notes at this moment are skipped: it writes the same.
_due = select(_k.id).where(_given, _is_due).with_for_update(skip_locked=True)
_NOTE_USE = update(schema.api_keys).where(_k.id.in_(_due)).values(last_used_on=TODAY)
