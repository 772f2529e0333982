"""What all work on a batch shares: holding it, locking its transfers, noting, and finishing.

A batch is the set of unfinished transfers that carry its id. The broker's messages name
only that id, so they are small, and whatever they say, the database decides what is in it.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from uuid import UUID

from sqlalchemy import (
    Connection,
    Executable,
    bindparam,
    exists,
    func,
    insert,
    literal,
    select,
)

from ledger import movements
from ledger.movements import MovementPart
from ledger.postgres import schema


def hold(connection: Connection, batch_id: UUID) -> None:
    """Wait until nobody else works on this batch, and keep others off until the transaction ends.

    Two copies of a message would otherwise see the batch grow or shrink between their
    statements. (Row locks alone do not keep a reserve from adding rows.)
    """
    connection.execute(_HOLD, {"key": batch_id.int >> 65})


def lock_transfers(connection: Connection, batch_id: UUID, part: MovementPart) -> int:
    """Lock the part's transfers against a re-drive. Returns: how many there are."""
    count: int = connection.execute(_lock(part), {"batch": batch_id}).scalar_one()
    return count


def has_movable(connection: Connection, batch_id: UUID) -> bool:
    """Whether any transfer of the batch can still be moved forward."""
    return bool(connection.execute(_HAS_MOVABLE, {"batch": batch_id}).scalar_one())


def note(
    connection: Connection,
    event: str,
    batch_id: UUID,
    part: MovementPart,
    *,
    worker: str,
    attempt: int | None = None,
    detail: str | None = None,
) -> None:
    """Write an event into the timeline of each of the part's transfers."""
    argument = {
        "batch": batch_id,
        "event_noted": event,
        "worker_noted": worker,
        "attempt_noted": attempt,
        "detail_noted": detail,
    }
    connection.execute(_note(part), argument)


def finish(connection: Connection, batch_id: UUID, part: MovementPart, now: datetime) -> None:
    """End the part's transfers, whose movements are done: committed, or as they failed."""
    connection.execute(_finish(part), {"batch": batch_id, "now": now})


_table = schema.unfinished.c
_HOLD = select(func.pg_advisory_xact_lock(bindparam("key")))
_HAS_MOVABLE = select(
    exists().where(_table.batch_id == bindparam("batch"), _table.failure_code.is_(None))
)


@cache
def _lock(part: MovementPart) -> Executable:
    locked = select(literal(1)).select_from(schema.unfinished).where(part.condition())
    return select(func.count()).select_from(locked.with_for_update().subquery())


@cache
def _note(part: MovementPart) -> Executable:
    names = ["event", "worker", "attempt", "detail"]
    values = (bindparam(f"{name}_noted", type_=schema.events.c[name].type) for name in names)
    rows = select(_table.transfer_id, *values).where(part.condition())
    return insert(schema.events).from_select(["transfer_id", *names], rows)


_finish = cache(movements.finish)
