"""Finding transfers that stopped moving, and putting them into batches to be driven again.

Guarantees that a scan beside live workers, or beside a second scan, does no harm: it skips
what somebody has locked, and what it has taken does not count as stuck any more.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Interval,
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

from ledger.ids import new_id
from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, rows_argument, rows_parameter
from ledger.reserve import CLAIM_LIMIT
from ledger.states import State

REDRIVE_LIMIT = 10_000
"""The most transfers that one scan puts into batches; the next scan takes the next ones."""

NOTED_REDRIVES = 20
"""A transfer's timeline shows this many re-drives, and what came of them, so that it cannot
grow without end."""


@dataclass(frozen=True, slots=True)
class Redrive:
    """A batch of transfers that are all in one state, to be driven on from there."""

    batch_id: UUID
    state: State
    failed: bool
    """Whether their failure is decided, so that they are to be rolled back."""
    count: int


def redrive_stuck(connection: Connection, *, stuck_after_s: float, worker: str) -> list[Redrive]:
    """Give every transfer that has not moved for `stuck_after_s` a new batch, oldest first.

    Transfers that no reserve has claimed yet are not stuck but waiting, see `is_waiting`.
    The batches must be driven after the commit; if that never happens, they are stuck
    again after the same time.
    """
    stuck = connection.execute(_STUCK, {"age": timedelta(seconds=stuck_after_s)}).all()
    groups: dict[tuple[State, bool], list[UUID]] = defaultdict(list)
    for row in stuck:
        groups[cast(State, row.state), row.failed].append(row.transfer_id)
    redrives, rows = [], []
    for (state, failed), transfer_ids in groups.items():
        for start in range(0, len(transfer_ids), CLAIM_LIMIT):
            chunk = transfer_ids[start : start + CLAIM_LIMIT]
            redrives.append(Redrive(new_id(), state, failed, len(chunk)))
            rows += [(transfer_id, redrives[-1].batch_id, worker) for transfer_id in chunk]
    if rows:
        connection.execute(_REBATCH, rows_argument(_BATCHED, rows))
    return redrives


def is_waiting(connection: Connection, *, waiting_s: float) -> bool:
    """Whether a transfer waits for a reserve to claim it for this long: its kick was lost."""
    argument = {"age": timedelta(seconds=waiting_s)}
    return bool(connection.execute(_WAITING, argument).scalar_one())


def _not_since(moved_at: ColumnElement[Any]) -> ColumnElement[bool]:
    # Not in the future either: a clock that was set back must not keep a transfer waiting.
    now, age = func.clock_timestamp(), bindparam("age", type_=Interval())
    return ~moved_at.between(now - age, now + age)


_u = schema.unfinished.c

_STUCK = (
    select(_u.transfer_id, _u.state, _u.failure_code.is_not(None).label("failed"))
    .where(_u.batch_id.is_not(None), _not_since(_u.moved_at))
    .order_by(_u.moved_at)
    .limit(REDRIVE_LIMIT)
    .with_for_update(skip_locked=True)
)
# The longest waiting one answers for all: they are claimed in this order.
_first = (
    select(_u.transfer_id, _u.moved_at)
    .where(_u.batch_id.is_(None))
    .order_by(_u.seq)
    .limit(1)
    .subquery()
)
_WAITING = select(exists().where(_not_since(_first.c.moved_at)))

_BATCHED: Columns = {"transfer_id": Uuid(), "batch_id": Uuid(), "worker": Text()}


def _build_rebatch() -> Any:
    given = rows_parameter("given", _BATCHED)
    driven = (
        update(schema.unfinished)
        .where(_u.transfer_id == given.c.transfer_id)
        .values(
            batch_id=given.c.batch_id,
            moved_at=func.statement_timestamp(),
            redrives=_u.redrives + 1,
        )
        .returning(_u.transfer_id, _u.redrives, given.c.worker)
        .cte("driven")
    )
    noted = select(
        driven.c.transfer_id, literal("redriven"), driven.c.worker, driven.c.redrives
    ).where(driven.c.redrives <= NOTED_REDRIVES)
    return insert(schema.events).from_select(["transfer_id", "event", "worker", "attempt"], noted)


_REBATCH = _build_rebatch()
