"""Blocked wallets: keeps a wallet that is locked for long from holding up everybody else.

A step waits for the lock on a wallet for a moment only, since it holds other wallets meanwhile.
When that fails, `mark` finds out which wallets are locked for longer, and writes them down. As
long as they are, each step takes the transfers that touch them out of its batch (`set_aside`),
without waiting. `release` takes a wallet off the list once its lock is gone; the recovery scan
then drives its transfers on.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    Connection,
    Executable,
    Uuid,
    bindparam,
    case,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    union,
    update,
)

from ledger.errors import LockTimeout
from ledger.ids import new_id
from ledger.movements import MovementPart, WalletRole
from ledger.postgres import schema
from ledger.postgres.bulk_rows import array_literal
from ledger.postgres.database import undone
from ledger.recovery import NOTED_REDRIVES

PROBE_WAIT_S: Final = 0.5
"""A wallet whose lock is not to be had in this time is blocked. A step holds it much shorter."""
PROBES_WAIT_S: Final = 1.0
"""The most that one search waits, for all wallets together."""

WHY_SET_ASIDE: Final = "Another session of the database has locked one of its wallets."


def mark(
    connection: Connection, batch_id: UUID, part: MovementPart, roles: tuple[WalletRole, ...]
) -> list[UUID]:
    """Find the part's wallets that another session keeps locked, and put them on the list.

    Holds no wallet while it waits for one. Returns: the blocked wallets.
    """
    connection.execute(_WAIT, {"wait": f"{PROBE_WAIT_S * 1000:.0f}ms"})
    touched = connection.scalars(_touched(part, roles), {"batch": batch_id}).all()
    suspects = _locked_among(connection, touched)
    # A wallet that many steps use in turn may be locked at each look, but by another one.
    holders = _holders(connection, suspects)
    deadline_s = time.monotonic() + PROBES_WAIT_S
    free = set()
    for wallet_id in suspects:
        if time.monotonic() >= deadline_s:
            break
        if _comes_free(connection, wallet_id):
            free.add(wallet_id)
    now = _holders(connection, suspects)
    still = set(_locked_among(connection, suspects)) - free
    blocked = sorted(id for id in still if holders[id] == now[id])
    if blocked:
        connection.execute(_MARK, {"ids": array_literal(blocked)})
    return blocked


def set_aside(
    connection: Connection,
    batch_id: UUID,
    part: MovementPart,
    roles: tuple[WalletRole, ...],
    *,
    worker: str | None,
) -> int:
    """Take the part's transfers that touch a blocked wallet out of the batch.

    They keep their state, and wait for `release`. Returns: their number.
    """
    argument = {"batch": batch_id, "aside": new_id(), "worker_noted": worker}
    count: int = connection.execute(_set_aside(part, roles), argument).scalar_one()
    return count


def release(connection: Connection) -> list[UUID]:
    """Take every wallet off the list whose lock is gone. Returns: these wallets."""
    return list(connection.scalars(_RELEASE))


def _holders(connection: Connection, wallet_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the transaction that has locked each wallet last."""
    rows = connection.execute(_HOLDERS, {"ids": array_literal(wallet_ids)})
    return {row.id: row.holder for row in rows}


def _locked_among(connection: Connection, wallet_ids: Collection[UUID]) -> list[UUID]:
    """Return the wallets that are locked at this moment, in the given order."""
    with undone(connection):
        free = set(connection.scalars(_FREE, {"ids": array_literal(wallet_ids)}))
    return [id for id in wallet_ids if id not in free]


def _comes_free(connection: Connection, wallet_id: UUID) -> bool:
    try:
        with undone(connection):
            connection.execute(_LOCK, {"id": wallet_id})
    except LockTimeout:
        return False
    return True


_WAIT = text("SELECT set_config('lock_timeout', :wait, true)")
_FREE = text("""
    SELECT id FROM wallets WHERE id = ANY (CAST(:ids AS uuid[]))
    FOR NO KEY UPDATE SKIP LOCKED
""").columns(id=Uuid())
_HOLDERS = text(
    "SELECT id, xmax::text AS holder FROM wallets WHERE id = ANY (CAST(:ids AS uuid[]))"
).columns(id=Uuid())
_LOCK = text("SELECT FROM wallets WHERE id = :id FOR NO KEY UPDATE").bindparams(
    bindparam("id", type_=Uuid())
)
_MARK = text("""
    INSERT INTO blocked_wallets (wallet_id)
    SELECT id FROM unnest(CAST(:ids AS uuid[])) AS given (id) ORDER BY id
    ON CONFLICT DO NOTHING
""")
_RELEASE = text("""
    WITH free AS (
        SELECT id FROM wallets WHERE id IN (SELECT wallet_id FROM blocked_wallets)
        FOR NO KEY UPDATE SKIP LOCKED
    )
    DELETE FROM blocked_wallets WHERE wallet_id IN (SELECT id FROM free) RETURNING wallet_id
""").columns(wallet_id=Uuid())

_u = schema.unfinished.c


@cache
def _touched(part: MovementPart, roles: tuple[WalletRole, ...]) -> Executable:
    """Select the part's wallets. Those that many transfers share come first: they are tried."""
    wallet = schema.wallets.c
    ids = union(*(select(_u[f"{role}_id"]).where(part.condition()) for role in roles))
    return (
        select(wallet.id).where(wallet.id.in_(ids)).order_by(wallet.kind == "customer", wallet.id)
    )


@cache
def _set_aside(part: MovementPart, roles: tuple[WalletRole, ...]) -> Executable:
    blocked = select(schema.blocked_wallets.c.wallet_id)
    concerned: dict[Any, Any] = {_u[f"{role}_id"].in_(blocked): _u[f"{role}_id"] for role in roles}
    aside = (
        update(schema.unfinished)
        .where(part.condition(), or_(*concerned))
        .values(
            batch_id=bindparam("aside"),
            blocked_by=case(*concerned.items()),
            moved_at=func.statement_timestamp(),
        )
        .returning(_u.transfer_id, _u.redrives)
        .cte("aside")
    )
    worker = bindparam("worker_noted", type_=schema.events.c.worker.type)
    noted = insert(schema.events).from_select(
        ["transfer_id", "event", "worker", "detail"],
        select(aside.c.transfer_id, literal("set_aside"), worker, literal(WHY_SET_ASIDE)).where(
            aside.c.redrives <= NOTED_REDRIVES
        ),
    )
    return select(func.count()).select_from(aside).add_cte(noted.cte("noted"))
