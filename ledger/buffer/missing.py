"""Missing requests: those that were buffered, and are neither in the buffer nor in the database.

Guarantees that a loss is reported once, with the transfers' ids, and that a request which turns
up later is not counted as lost any more. Its client was answered 202, so an operator must know.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Uuid,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, rows_argument, rows_parameter

LOST_AFTER_S: Final = 180.0
"""A worker that died may hold requests of a RabbitMQ until that notices, two heartbeats later."""

_m = schema.missing_requests.c


def note_missing(connection: Connection, ids: Collection[UUID]) -> None:
    """Note which of these buffered requests the database does not know, while none waits."""
    if ids:
        connection.execute(_NOTE, rows_argument(_COLUMNS, ((id,) for id in ids)))


def report_lost(connection: Connection, *, after_s: float = LOST_AFTER_S) -> list[UUID]:
    """Forget what has turned up. Returns: what is lost and was not returned before."""
    connection.execute(delete(schema.missing_requests).where(_is_known(_m.id)))
    is_new = _m.reported_at.is_(None) & (_m.noticed_at <= func.now() - timedelta(seconds=after_s))
    lost = update(schema.missing_requests).where(is_new).values(reported_at=func.now())
    return list(connection.scalars(lost.returning(_m.id)))


def count_lost(connection: Connection) -> int:
    """Return how many requests are lost."""
    query = select(func.count()).where(_m.reported_at.is_not(None), ~_is_known(_m.id))
    return int(connection.execute(query).scalar_one())


def list_lost(connection: Connection, *, limit: int) -> list[tuple[UUID, datetime]]:
    """Return lost requests, oldest first: the transfer's id, and when it was missed."""
    is_lost = _m.reported_at.is_not(None) & ~_is_known(_m.id)
    query = select(_m.id, _m.noticed_at).where(is_lost).order_by(_m.noticed_at, _m.id).limit(limit)
    return [(row.id, row.noticed_at) for row in connection.execute(query)]


def forget_lost(connection: Connection, ids: Sequence[UUID]) -> int:
    """Count requests as lost no more. Returns: how many there were."""
    return connection.execute(delete(schema.missing_requests).where(_m.id.in_(ids))).rowcount


def _is_known(id: ColumnElement[UUID]) -> ColumnElement[bool]:
    tables = (
        schema.transfers.c.id,
        schema.refused_requests.c.id,
        schema.set_aside_entries.c.transfer_id,
    )
    return or_(*(exists().where(column == id) for column in tables))


_COLUMNS: Columns = {"id": Uuid()}
_given = rows_parameter("given", _COLUMNS)
_NOTE = (
    insert(schema.missing_requests)
    .from_select(["id"], select(_given.c.id).where(~_is_known(_given.c.id)))
    .on_conflict_do_nothing()
)
