"""Batches: locks one and its transfers, notes events, and ends transfers.

A batch is the set of unfinished transfers that have its id. The broker's messages contain
only that id, so they are small, and the database alone decides which transfers are in it.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Final
from uuid import UUID

from sqlalchemy import (
    Connection,
    Executable,
    Text,
    bindparam,
    exists,
    func,
    insert,
    literal,
    select,
    true,
)

from ledger import movements
from ledger.funds.waits import Released
from ledger.movements import MovementPart
from ledger.postgres import schema
from ledger.postgres.dialect import PREPARED, UNREAD
from ledger.postgres.running_steps import lock_key

LOCK_WAIT_S: Final = 0.5
"""How long a step waits for the lock on a wallet: it keeps other wallets locked meanwhile. A batch
of 1,000 holds a wallet for about a tenth of that."""
MAX_LOCK_WAIT_S: Final = 1.5
"""Retries wait longer, up to this: the workers may be many, and take turns at one wallet."""


def lock_batch(connection: Connection, batch_id: UUID, *, attempt: int = 0) -> bool:
    """Wait for the lock on this batch, and keep it until the transaction ends.

    Otherwise two copies of a message would see the batch grow or shrink between their
    statements. (Row locks alone do not stop a reserve from adding rows.)
    From now on the transaction waits for each further lock for a moment only.
    Returns: whether there are blocked wallets, see `ledger.blocked`.
    """
    wait_s = min(LOCK_WAIT_S * 2.0**attempt, MAX_LOCK_WAIT_S)
    argument = {"key": lock_key(batch_id), "wait": f"{wait_s * 1000:.0f}ms"}
    return bool(
        connection.execute(_LOCK_BATCH, argument, execution_options=PREPARED).one().some_blocked
    )


def lock_transfers(connection: Connection, batch_id: UUID, part: MovementPart) -> int:
    """Lock the part's transfers against a re-drive. Returns: their number."""
    argument = {"batch": batch_id}
    count: int = connection.execute(_lock(part), argument, execution_options=PREPARED).scalar_one()
    return count


def hold_transfers(connection: Connection, batch_id: UUID, part: MovementPart) -> None:
    """Lock the part's transfers, as `lock_transfers` does, with the next statement."""
    connection.execute(_lock(part), {"batch": batch_id}, execution_options=UNREAD)


def has_movable(connection: Connection, batch_id: UUID) -> bool:
    """Return whether any transfer of the batch can still be moved forward."""
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


def finish(connection: Connection, batch_id: UUID, part: MovementPart, now: datetime) -> Released:
    """End the part's transfers after their last movement: committed, rejected or rolled back.

    Returns: what it released of those that waited for one of these to end.
    """
    return Released(*connection.execute(_finish(part), {"batch": batch_id, "now": now}).one())


_table = schema.unfinished.c
_LOCK_BATCH = select(
    func.pg_advisory_xact_lock(bindparam("key")),
    func.set_config("lock_timeout", bindparam("wait", type_=Text()), true()),
    exists().select_from(schema.blocked_wallets).label("some_blocked"),
)
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
