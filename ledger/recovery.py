"""Recovery scan: finds transfers that stopped moving, and puts them into new batches.

Guarantees that a scan beside live workers, or beside a second scan, does no harm: it skips
locked transfers, and those that it has taken no longer count as stuck.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Interval,
    Text,
    Uuid,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from ledger.ids import new_id
from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, rows_argument, rows_parameter
from ledger.reserve import CLAIM_LIMIT
from ledger.states import State

REDRIVE_LIMIT = 10_000
"""The most transfers that one scan puts into batches; the next scan takes the rest."""

NOTED_REDRIVES = 20
"""A transfer's timeline shows at most this many re-drives and their failures, so that it
cannot grow without end."""


@dataclass(frozen=True, slots=True)
class Redrive:
    """A batch of transfers that are all in one state, to be moved on from there."""

    batch_id: UUID
    state: State
    failed: bool
    """Whether they have failed, and must be rolled back."""
    count: int


def redrive_stuck(
    connection: Connection, *, stuck_after_s: float, worker: str, behind_backlog: bool = False
) -> list[Redrive]:
    """Give every transfer that has not moved for `stuck_after_s` a new batch, oldest first.

    Transfers that no reserve has claimed are not stuck but waiting, see `is_waiting`.
    behind_backlog: many batches wait for workers, and a stuck transfer's may be one of them. Then
    only those are driven that were never driven before, or whose wallet is no longer blocked: a
    message that is lost does not wait for the backlog, and each transfer adds one at most.
    The caller must publish the batches after the commit; if it does not, they count as stuck
    again after the same time.
    """
    argument = {"age": timedelta(seconds=stuck_after_s), "behind_backlog": behind_backlog}
    stuck = connection.execute(_STUCK, argument).all()
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
    """Return whether a transfer has waited this long for a reserve: then its kick was lost."""
    argument = {"age": timedelta(seconds=waiting_s)}
    return bool(connection.execute(_WAITING, argument).scalar_one())


def _not_since(moved_at: ColumnElement[Any]) -> ColumnElement[bool]:
    # Neither before the window nor in the future: if the clock was set back, waiting must end too.
    now, age = func.clock_timestamp(), bindparam("age", type_=Interval())
    return ~moved_at.between(now - age, now + age)


_u = schema.unfinished.c

_blocked = schema.blocked_wallets
_is_blocked = exists().where(_blocked.c.wallet_id == _u.blocked_by)
_STUCK = (
    select(_u.transfer_id, _u.state, _u.failure_code.is_not(None).label("failed"))
    .where(
        _u.batch_id.is_not(None),
        # Those that were set aside go on when their wallet is released, at once.
        case((_u.blocked_by.is_(None), _not_since(_u.moved_at)), else_=~_is_blocked),
        or_(
            ~bindparam("behind_backlog", type_=Boolean()),
            _u.redrives == 0,
            _u.blocked_by.is_not(None),
        ),
    )
    .order_by(_u.moved_at)
    .limit(REDRIVE_LIMIT)
    .with_for_update(skip_locked=True)
)
# The one that has waited longest is enough: they are claimed in this order.
_first = (
    select(_u.transfer_id, _u.moved_at)
    .where(_u.batch_id.is_(None), _u.waits_for.is_(None))
    .order_by(_u.seq)
    .limit(1)
    .subquery()
)
_WAITING = select(exists().where(_not_since(_first.c.moved_at)))

_BATCHED: Columns = {"transfer_id": Uuid(), "batch_id": Uuid(), "worker": Text()}


_given = rows_parameter("given", _BATCHED)
_driven = (
    update(schema.unfinished)
    .where(_u.transfer_id == _given.c.transfer_id)
    .values(
        batch_id=_given.c.batch_id,
        moved_at=func.statement_timestamp(),
        blocked_by=None,
        redrives=_u.redrives + 1,
    )
    .returning(_u.transfer_id, _u.redrives, _given.c.worker)
    .cte("driven")
)
_REBATCH = insert(schema.events).from_select(
    ["transfer_id", "event", "worker", "attempt"],
    select(_driven.c.transfer_id, literal("redriven"), _driven.c.worker, _driven.c.redrives).where(
        _driven.c.redrives <= NOTED_REDRIVES
    ),
)
