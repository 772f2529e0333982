"""Movements of money between the wallets of a transfer: one table, and the SQL built from it.

Guarantees that every statement here is balanced: a movement that changes balances posts
one row per transfer, which takes from one wallet what it gives to another.
Knows neither the order of the states nor its callers; see `ledger.steps`.
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
    Insert,
    Select,
    Update,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    union,
    union_all,
    update,
)

from ledger.funds import waits
from ledger.funds.waits import Released
from ledger.postgres import schema
from ledger.postgres.columns import TimestampColumn
from ledger.postgres.dialect import PREPARED, UNREAD
from ledger.states import State

WalletRole = Literal["source", "destination", "transit"]
Movement = Literal["reserve", "deduct", "credit", "commit", "release", "uncredit", "refund"]


@dataclass(frozen=True, slots=True)
class Effect:
    """The change that a transfer of `a` minor units makes to one wallet: a times each sign."""

    role: WalletRole
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
    # The way back: each undoes one of the above.
    "release":  (Effect("source",             reserved=-1             ),),
    "refund":   (Effect("transit",     balance=-1                     ),
                 Effect("source",      balance=+1                     )),
    "uncredit": (Effect("destination", balance=-1,          incoming=-1),
                 Effect("transit",     balance=+1                     )),
}
# fmt: on


@dataclass(frozen=True, slots=True)
class MovementPart:
    """The transfers of a batch that are in one of these states, and have failed or not."""

    states: tuple[State, ...]
    failed: bool = False

    def condition(self) -> ColumnElement[bool]:
        """Return the part as a condition on `unfinished`, with the parameter `batch`."""
        table = schema.unfinished.c
        failed = table.failure_code.is_not(None) if self.failed else table.failure_code.is_(None)
        return (table.batch_id == bindparam("batch")) & table.state.in_(self.states) & failed


@dataclass(frozen=True, slots=True)
class Locked:
    """The findings at the moment when the wallets were locked."""

    now: datetime
    """The time of the postings to come: the database's clock, but never before the last
    posting of any of these wallets."""
    all_active: bool
    transfers: int
    """How many transfers the part has."""


def lock_wallets(
    connection: Connection, batch_id: UUID, part: MovementPart, roles: tuple[WalletRole, ...]
) -> Locked:
    """Lock the part's wallets in these roles, in id order, until the transaction ends.

    Every lock is taken in that order, so two batches may wait for each other but never deadlock.
    """
    argument = {"batch": batch_id}
    row = connection.execute(_lock(part, roles), argument, execution_options=PREPARED).one()
    return Locked(row.now, row.all_active, row.transfers)


def roles_in(movements: tuple[Movement, ...]) -> tuple[WalletRole, ...]:
    """Return the roles of the wallets that these movements touch."""
    return tuple(sorted({effect.role for name in movements for effect in MOVEMENTS[name]}))


def move(
    connection: Connection,
    movement: Movement,
    batch_id: UUID,
    part: MovementPart,
    now: datetime,
    *,
    enter: State | None = None,
) -> Released:
    """Apply a movement to every transfer of the part, in one statement.

    The wallets must be locked already. enter: the state that the transfers move to.
    Returns: what it released of those that waited for one of these to end.
    """
    statement, argument = _move(movement, part, enter), {"batch": batch_id, "now": now}
    if enter == "committed":
        return Released(*connection.execute(statement, argument, execution_options=PREPARED).one())
    connection.execute(statement, argument, execution_options=UNREAD)
    return Released()


@cache
def _lock(part: MovementPart, roles: tuple[WalletRole, ...]) -> Executable:
    moving, wallets = _moving(part), schema.wallets
    touched = union(*(select(moving.c[role].label("id")) for role in roles)).subquery()
    # NO KEY UPDATE: the ids do not change, so rows that merely refer to the wallets need not wait.
    locked = (
        select(wallets.c.posted_at, wallets.c.status)
        .where(wallets.c.id.in_(select(touched.c.id)))
        .order_by(wallets.c.id)
        .with_for_update(key_share=True)
        .subquery()
    )
    return select(
        func.greatest(func.clock_timestamp(), func.max(locked.c.posted_at)).label("now"),
        func.bool_and(locked.c.status == "active").label("all_active"),
        select(func.count()).select_from(moving).scalar_subquery().label("transfers"),
    )


_NOW = bindparam("now", type_=TimestampColumn)


@cache
def _move(movement: Movement, part: MovementPart, enter: State | None) -> Executable:
    moving = _moving(part)
    statement = _update_wallets(movement, moving)
    if _posts(movement):
        statement = statement.add_cte(_post(movement, moving).cte("posted"))
    if enter == "committed":
        return finish(part).add_cte(statement.cte("moved"))
    if enter is not None:
        statement = statement.add_cte(_advance(part, enter).cte("advanced"))
    return statement


def finish(part: MovementPart) -> Select[Any]:
    """Build the statement that writes the outcomes of the part's transfers and ends them.

    It releases those that wait for one of them, and returns a row for `Released`.
    """
    ended = delete(schema.unfinished).where(part.condition())
    done = ended.returning(schema.unfinished).cte("done")
    state = case(
        (done.c.failure_code.is_(None), "committed"),
        (done.c.state == "accepted", "rejected"),
        else_="rolled_back",
    )
    made = {"state", "finished_at"}
    kept = [column.name for column in schema.outcomes.c if column.name not in made]
    rows = select(*(done.c[name] for name in kept), state, _NOW).select_from(done)
    written = insert(schema.outcomes).from_select([*kept, "state", "finished_at"], rows)
    return waits.release(done).add_cte(written.cte("finished"))


def _advance(part: MovementPart, state: State) -> Update:
    # The clock, not the time of the postings, which may be ahead: recovery compares with the clock.
    moved_at = func.clock_timestamp()
    return (
        update(schema.unfinished)
        .where(part.condition())
        .values({"state": state, f"{state}_at": _NOW, "moved_at": moved_at})
    )


def _posts(movement: Movement) -> bool:
    return any(effect.balance for effect in MOVEMENTS[movement])


def _post(movement: Movement, moving: CTE) -> Insert:
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
            _NOW,
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


def _update_wallets(movement: Movement, moving: CTE) -> Update:
    effects, wallets = MOVEMENTS[movement], schema.wallets
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
    if _posts(movement):
        values["posted_at"] = _NOW
    return update(wallets).where(wallets.c.id == change.c.wallet_id).values(values)


def _moving(part: MovementPart) -> CTE:
    """Select the part's transfers, with the three wallets in columns named after their roles."""
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
