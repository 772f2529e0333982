"""How money moves between the wallets of a transfer: one table, and the SQL built from it.

Guarantees that every statement here is balanced: a movement that changes balances posts
one row per transfer, which takes from one wallet what it gives to another.
Knows nothing of states' order or of who calls; `ledger.steps` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Executable,
    bindparam,
    func,
    insert,
    literal,
    select,
    union,
    union_all,
    update,
)

from ledger import schema
from ledger.states import State

Role = Literal["source", "destination", "transit"]
Movement = Literal["reserve", "deduct", "credit", "commit", "release", "uncredit", "refund"]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a transfer of `a` minor units does to one wallet: a times each of these signs."""

    role: Role
    balance: int = 0
    reserved: int = 0
    incoming: int = 0


# fmt: off
MOVEMENTS: Final[dict[Movement, tuple[Effect, ...]]] = {
    #             wallet         balance      reserved      incoming
    "reserve":  (Effect("source",             reserved=+1             ),),
    "deduct":   (Effect("source",      balance=-1, reserved=-1        ),
                 Effect("transit",     balance=+1                     )),
    "credit":   (Effect("transit",     balance=-1                     ),
                 Effect("destination", balance=+1,          incoming=+1)),
    "commit":   (Effect("destination",                      incoming=-1),),
    # The way back, each undoing one of the above.
    "release":  (Effect("source",             reserved=-1             ),),
    "refund":   (Effect("transit",     balance=-1                     ),
                 Effect("source",      balance=+1                     )),
    "uncredit": (Effect("destination", balance=-1,          incoming=-1),
                 Effect("transit",     balance=+1                     )),
}
# fmt: on


@dataclass(frozen=True, slots=True)
class Part:
    """Those transfers of a batch that are in one of these states, and failed or not."""

    states: tuple[State, ...]
    failed: bool = False

    def condition(self) -> ColumnElement[bool]:
        """The part as a condition on `unfinished`, with the parameter `batch`."""
        table = schema.unfinished.c
        failed = table.failure_code.is_not(None) if self.failed else table.failure_code.is_(None)
        return (table.batch_id == bindparam("batch")) & table.state.in_(self.states) & failed


def lock_wallets(
    connection: Connection, batch_id: UUID, part: Part, movements: tuple[Movement, ...]
) -> datetime:
    """Lock every wallet that these movements touch, in id order, until the transaction ends.

    All lockers use that order, so two batches wait for each other but never deadlock.
    Returns: the time to stamp on what follows: the database's clock, but never before the
    last posting of any of these wallets.
    """
    roles = tuple(sorted({effect.role for name in movements for effect in MOVEMENTS[name]}))
    now: datetime = connection.execute(_lock(part, roles), {"batch": batch_id}).scalar_one()
    return now


def move(
    connection: Connection, movement: Movement, batch_id: UUID, part: Part, now: datetime
) -> None:
    """Apply a movement to every transfer of the part. Its wallets must be locked already."""
    argument = {"batch": batch_id, "now": now}
    for statement in _statements(movement, part):
        connection.execute(statement, argument)


@cache
def _lock(part: Part, roles: tuple[Role, ...]) -> Executable:
    moving, wallets = _moving(part), schema.wallets
    touched = union(*(select(moving.c[role].label("id")) for role in roles)).subquery()
    # NO KEY UPDATE: the rows' identity stays, so nobody who merely refers to them waits.
    locked = (
        select(wallets.c.posted_at)
        .where(wallets.c.id.in_(select(touched.c.id)))
        .order_by(wallets.c.id)
        .with_for_update(key_share=True)
        .subquery()
    )
    return select(func.greatest(func.clock_timestamp(), func.max(locked.c.posted_at)))


@cache
def _statements(movement: Movement, part: Part) -> tuple[Executable, ...]:
    effects = MOVEMENTS[movement]
    if any(effect.balance for effect in effects):
        return (_post(movement, part), _update_wallets(effects, part, posts=True))
    return (_update_wallets(effects, part, posts=False),)


def _post(movement: Movement, part: Part) -> Executable:
    moving = _moving(part)
    debit, credit = schema.wallets.alias("debit"), schema.wallets.alias("credit")
    signs = {effect.balance: moving.c[effect.role] for effect in MOVEMENTS[movement]}
    debit_id, credit_id = signs[-1], signs[+1]
    lines = (
        select(
            moving.c.transfer_id,
            literal(movement),
            debit_id,
            credit_id,
            moving.c.amount,
            debit.c.balance - _running_total(moving, debit_id),
            credit.c.balance + _running_total(moving, credit_id),
            bindparam("now", type_=schema.Time),
        )
        .select_from(
            moving.join(debit, debit.c.id == debit_id).join(credit, credit.c.id == credit_id)
        )
        .order_by(moving.c.seq)
    )
    columns = [column.name for column in schema.postings.c if column.name != "seq"]
    return insert(schema.postings).from_select(columns, lines)


def _running_total(moving: CTE, wallet_id: ColumnElement[UUID]) -> ColumnElement[Any]:
    return func.sum(moving.c.amount).over(
        partition_by=wallet_id, order_by=moving.c.seq, rows=(None, 0)
    )


def _update_wallets(effects: tuple[Effect, ...], part: Part, *, posts: bool) -> Executable:
    moving, wallets = _moving(part), schema.wallets
    fields = [
        name
        for name in ("balance", "reserved", "incoming")
        if any(getattr(effect, name) for effect in effects)
    ]
    touched = union_all(
        *(
            select(
                moving.c[effect.role].label("wallet_id"),
                *((moving.c.amount * getattr(effect, name)).label(name) for name in fields),
            )
            for effect in effects
        )
    ).subquery()
    change = (
        select(touched.c.wallet_id, *(func.sum(touched.c[name]).label(name) for name in fields))
        .group_by(touched.c.wallet_id)
        .subquery()
    )
    values: dict[str, Any] = {name: wallets.c[name] + change.c[name] for name in fields}
    if posts:
        values["posted_at"] = bindparam("now", type_=schema.Time)
    return update(wallets).where(wallets.c.id == change.c.wallet_id).values(values)


def _moving(part: Part) -> CTE:
    """The part's transfers, each with its three wallets in columns named after their roles."""
    table = schema.unfinished.c
    return (
        select(
            table.transfer_id,
            table.seq,
            table.amount,
            table.source_id.label("source"),
            table.transit_id.label("transit"),
            table.destination_id.label("destination"),
        )
        .where(part.condition())
        .cte("moving")
    )
