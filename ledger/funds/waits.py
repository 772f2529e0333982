"""Waits: a transfer that lacks funds waits, unclaimed, until an earlier one has ended.

Guarantees that nobody waits in a circle: a transfer waits only for one with a lower `seq`. The
statement that ends transfers also releases those that wait for them. It sees them all: it holds
the lock of the wallet under which they were put back or, when it rejects, that of `try_lock`. What
it must leave is released after its commit (`release_rest`), or by the recovery scan
(`release_ended`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    Connection,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    exists,
    func,
    insert,
    literal,
    select,
    true,
    union,
    update,
)

from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, array_literal, rows_argument, rows_parameter

RELEASED_AT_ONCE = 1_000
"""The most waits that one step ends; it holds the locks of wallets meanwhile."""
NOTED_WAITS = 20
"""A timeline shows at most this many waits, so that it cannot grow without end."""


@dataclass(frozen=True, slots=True)
class Released:
    """The waits that were ended."""

    count: int = 0
    rest: Sequence[UUID] = ()
    """Ended transfers for which others still wait: those were locked, or too many at once."""


def try_lock(connection: Connection) -> bool:
    """Keep other reserves from rejecting transfers or putting them back, until this one commits.

    Otherwise one could put a transfer back for another that is just being rejected, unseen. It is
    the last lock that a reserve takes, so nobody waits for a wallet while holding it.
    Returns: False when another reserve has it, and does not end within a moment.
    """
    for _ in range(_TRIES):
        if connection.scalar(_TRY_LOCK, {"key": _LOCK_KEY}):
            return True
        time.sleep(_TRY_AGAIN_AFTER_S)
    return False


def put_back(connection: Connection, waits: Iterable[tuple[UUID, UUID]], *, worker: str) -> None:
    """Set taken transfers back to `accepted`, unclaimed, and note for which one each waits.

    waits: (transfer id, id of the earlier transfer that must end first).
    """
    rows = ((transfer_id, waits_for, _detail(waits_for)) for transfer_id, waits_for in waits)
    argument = rows_argument(_WAIT, rows) | {"noticed_by": worker}
    connection.execute(_PUT_BACK, argument)


def release(ended: CTE) -> Select[Any]:
    """Build what releases the first transfers that wait for one of `ended.transfer_id`.

    It returns one row, see `Released`. It never waits for a lock, since its transaction holds
    wallets: a claim may have locked a row that it then found to be waiting.
    """
    return _release(select(ended.c.transfer_id), skip_locked=True)


def release_rest(connection: Connection, ended_ids: Iterable[UUID]) -> Released:
    """Release more transfers that wait for one of these, which have ended.

    Waits for locks, but only for a moment, so its transaction must hold none. Harmless to repeat.
    Raises: LockTimeout: when one of the transfers is locked for longer.
    """
    connection.execute(_WAIT_FOR_A_MOMENT)
    argument = {"ended": array_literal(ended_ids)}
    return Released(*connection.execute(_RELEASE_REST, argument).one())


def release_ended(connection: Connection) -> int:
    """Release transfers that wait for one that has ended, and that nobody has released.

    That was left undone: a process died, or a row was locked. Leaves those that are locked now.
    Returns: how many, RELEASED_AT_ONCE at most.
    """
    return connection.execute(_RELEASE_ENDED).rowcount


def _detail(waits_for: UUID) -> str:
    # It contains no amount: the receiver may read it, too.
    return f"The source lacks the money until transfer {waits_for}, accepted before, has ended."


_LOCK_KEY = 0x7472_7565_7761_6974
"""A number of our own: the letters "truewait"."""
_TRY_LOCK = select(func.pg_try_advisory_xact_lock(bindparam("key")))
_TRIES = 10
_TRY_AGAIN_AFTER_S = 0.03
"""The tries together take as long as a few reserves: one that rejects holds the lock shortly."""
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

_ENDED = select(
    func.unnest(cast(bindparam("ended", type_=Text()), ARRAY(Uuid))).column_valued("ended_id")
)


def _release(ended: Select[Any], *, skip_locked: bool) -> Select[Any]:
    # The index has no other rows than those that wait; the planner may use it only when it is said.
    waits = and_(_u.waits_for.is_not(None), _u.waits_for.in_(ended))
    found = (
        select(_u.transfer_id, _u.waits_for)
        .where(waits)
        .order_by(_u.seq)
        .limit(RELEASED_AT_ONCE + 1)
        .cte("found")
    )
    first = select(found.c.transfer_id).limit(RELEASED_AT_ONCE)
    locked = (
        select(_u.transfer_id)
        .where(_u.transfer_id.in_(first), waits)
        .order_by(_u.transfer_id)
        .with_for_update(skip_locked=skip_locked)
        .cte("locked")
    )
    released = (
        update(schema.unfinished)
        .where(_u.transfer_id.in_(select(locked.c.transfer_id)))
        .values(waits_for=None, moved_at=func.statement_timestamp())
        .returning(_u.transfer_id)
        .cte("released")
    )
    # Those that were locked; and if there were too many, it is not known which they wait for.
    rest = union(
        select(found.c.waits_for).where(found.c.transfer_id.not_in(select(released.c.transfer_id))),
        ended.where(select(func.count()).select_from(found).scalar_subquery() > RELEASED_AT_ONCE),
    )
    count = select(func.count()).select_from(released).scalar_subquery()
    return select(count.label("count"), func.array(rest.scalar_subquery()).label("rest"))


_RELEASE_REST = _release(_ENDED, skip_locked=False)
_WAIT_FOR_A_MOMENT = select(func.set_config("lock_timeout", "500ms", true()))

_awaited = schema.unfinished.alias("awaited")
_waiting = schema.unfinished.alias("waiting")
_left = (
    select(_waiting.c.transfer_id)
    .where(
        _waiting.c.waits_for.is_not(None),
        ~exists().where(_awaited.c.transfer_id == _waiting.c.waits_for),
    )
    .order_by(_waiting.c.seq)
    .limit(RELEASED_AT_ONCE)
    .with_for_update(skip_locked=True)
    .cte("left_over")
)
_RELEASE_ENDED = (
    update(schema.unfinished)
    .where(_u.transfer_id.in_(select(_left.c.transfer_id)))
    .values(waits_for=None, moved_at=func.statement_timestamp())
)
