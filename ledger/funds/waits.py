"""Waits: a transfer that lacks funds waits, unclaimed, until an earlier one has ended.

Guarantees that nobody waits in a circle: a transfer waits only for one with a lower `seq`. The
statement that ends transfers also releases those that wait for them. It commonly holds the lock
of the wallet under which the wait was decided, so it sees the wait; the recovery scan finds the
few that it cannot see, and those above its limit (`release_remaining`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    Connection,
    Select,
    Text,
    Uuid,
    bindparam,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)

from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, rows_argument, rows_parameter

RELEASED_AT_ONCE = 1_000
"""The most waits that one step ends; it holds the locks of wallets meanwhile."""
RELEASED_BY_A_SCAN = 10_000
NOTED_WAITS = 20
"""A timeline shows at most this many waits, so that it cannot grow without end."""


def put_back(connection: Connection, waits: Iterable[tuple[UUID, UUID]], *, worker: str) -> None:
    """Set taken transfers back to `accepted`, unclaimed, and note for which one each waits.

    waits: (transfer id, id of the earlier transfer that must end first).
    """
    rows = ((transfer_id, waits_for, _detail(waits_for)) for transfer_id, waits_for in waits)
    argument = rows_argument(_WAIT, rows) | {"noticed_by": worker}
    connection.execute(_PUT_BACK, argument)


def release(ended: CTE) -> CTE:
    """Build what releases the first transfers that wait for one of `ended.transfer_id`.

    It returns a row for each, and never waits for a lock: a row that is locked is being released
    by the scan.
    """
    waits_for_one = schema.unfinished.c.waits_for.in_(select(ended.c.transfer_id))
    return _release(_waiting.where(waits_for_one), RELEASED_AT_ONCE)


def release_remaining(connection: Connection) -> int:
    """Release the transfers that wait for one that has ended. Returns: how many.

    Safe beside live steps and beside a second scan.
    """
    count: int = connection.execute(_RELEASE_REMAINING).scalar_one()
    return count


def _detail(waits_for: UUID) -> str:
    # It contains no amount: the receiver may read it, too.
    return f"The source lacks the money until transfer {waits_for}, accepted before, has ended."


_u = schema.unfinished.c
_WAIT: Columns = {"transfer_id": Uuid(), "waits_for": Uuid(), "detail": Text()}


def _build_put_back() -> Any:
    given, events = rows_parameter("given", _WAIT), schema.events
    put_back = (
        update(schema.unfinished)
        .where(_u.transfer_id == given.c.transfer_id)
        .values(
            state="accepted",
            reserved_at=None,
            batch_id=None,
            waits_for=given.c.waits_for,
            moved_at=func.statement_timestamp(),
        )
        .cte("put_back")
    )
    noted = select(func.count()).where(
        events.c.transfer_id == given.c.transfer_id, events.c.event == "waiting"
    )
    columns = ["transfer_id", "event", "worker", "detail"]
    worker = bindparam("noticed_by", type_=events.c.worker.type)
    rows = select(given.c.transfer_id, literal("waiting"), worker, given.c.detail)
    return (
        insert(events)
        .from_select(columns, rows.where(noted.scalar_subquery() < NOTED_WAITS))
        .add_cte(put_back)
    )


_PUT_BACK = _build_put_back()

# The index has no other rows. Said in each query, because the planner may use it only then.
_waiting = select(_u.transfer_id).where(_u.waits_for.is_not(None))


def _release(waiting: Select[Any], limit: int) -> CTE:
    first = (
        waiting.order_by(_u.seq).limit(limit).with_for_update(skip_locked=True).cte("first_waiting")
    )
    return (
        update(schema.unfinished)
        .where(_u.transfer_id.in_(select(first.c.transfer_id)))
        .values(waits_for=None, moved_at=func.statement_timestamp())
        .returning(_u.transfer_id)
        .cte("released")
    )


_awaited = schema.unfinished.alias("awaited")
_RELEASE_REMAINING = select(func.count()).select_from(
    _release(
        _waiting.where(~exists().where(_awaited.c.transfer_id == _u.waits_for)), RELEASED_BY_A_SCAN
    )
)
