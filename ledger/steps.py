"""Steps of a transfer: each moves a whole batch in one database transaction.

A step locks the batch, locks its transfers, checks their state, locks the wallets in
sorted id order, moves, posts, and writes the new state. It moves a transfer only from the
state before it, so a step that runs twice, late or out of order finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, insert, literal, select, update

from ledger import batches, blocked
from ledger.errors import RolledBack
from ledger.funds.waits import Released
from ledger.movements import (
    Movement,
    MovementPart,
    WalletRole,
    lock_wallets,
    move,
    roles_in,
)
from ledger.postgres import schema
from ledger.postgres.session import server_wait
from ledger.reserve import CLAIM_LIMIT, claim, set_unmet_apart, take
from ledger.states import STEPS, UNFINISHED, State, StepName

Rollback = Literal["rollback"]
"""The way back, where it stands beside the names of the steps."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The result of one run of a step, counted in transfers."""

    moved: int = 0
    failed: int = 0
    """Steps no longer move these: they wait for `roll_back`."""
    left: bool = False
    """Whether the batch has transfers that can still be moved forward."""
    more: bool = False
    """Whether more transfers wait for a reserve: the last one filled its limit, or this step ended
    what they waited for."""
    awaited: Sequence[UUID] = ()
    """Ended transfers for which others still wait, to be given to `waits.release_rest`."""
    set_aside: int = 0
    """These left the batch: they wait until the lock on a wallet of theirs is gone."""
    ended: int = field(default=0, compare=False)
    """These are final now: committed, or rejected for lack of money or for a wallet's state."""
    claim_s: float = field(default=0.0, compare=False)
    """The time that claiming the batch took, in seconds, as a part of this run."""


def run_step(
    connection: Connection, step: StepName, batch_id: UUID, *, worker: str, attempt: int = 0
) -> Progress:
    """Move the batch's transfers by one step. Harmless on transfers in any other state.

    worker: the name of the worker, for the timeline. attempt: 0, or the number of the retry.
    Raises: Unavailable: when it should be tried again · anything else: when one of the
    transfers cannot be moved. Then nothing has changed, see `ledger.isolation`.
    """
    if not batches.lock_batch(connection, batch_id, attempt=attempt):
        if step == "reserve":
            return _reserve(connection, batch_id, worker, attempt)
        return _forward(connection, step, batch_id, worker, attempt)
    # Some wallets are blocked: without those that touch one, the batch waits for none.
    claimed = claim(connection, batch_id) if step == "reserve" else 0
    aside = blocked.set_aside(connection, batch_id, *touched_by(step), worker=worker)
    if step == "reserve":
        progress = _reserve(connection, batch_id, worker, attempt, claimed=True)
    else:
        progress = _forward(connection, step, batch_id, worker, attempt)
    more = progress.more or claimed == CLAIM_LIMIT
    return replace(progress, set_aside=aside, more=more)


def find_blocked(connection: Connection, step: StepName | Rollback, batch_id: UUID) -> list[UUID]:
    """Find the wallets that kept the step from their locks, so that it can be tried without them.

    Claims the transfers of a reserve, if its batch has none. Returns: the blocked wallets.
    """
    batches.lock_batch(connection, batch_id)
    if step == "reserve":
        claim(connection, batch_id)
    return blocked.mark(connection, batch_id, *touched_by(step))


def roll_back(connection: Connection, batch_id: UUID, *, worker: str | None = None) -> int:
    """Undo exactly the movements of each failed transfer of the batch, and end it.

    Only a failure that is written in the database is rolled back; a message alone rolls nothing
    back. Harmless when there is none. Transfers with a blocked wallet are set aside.
    Returns: how many transfers were ended.
    """
    failed, roles = touched_by("rollback")
    if batches.lock_batch(connection, batch_id):
        blocked.set_aside(connection, batch_id, failed, roles, worker=worker)
    found = batches.lock_transfers(connection, batch_id, failed)
    if found:
        now = lock_wallets(connection, batch_id, failed, roles).now
        for movement, states in _WAY_BACK:
            move(connection, movement, batch_id, MovementPart(states, failed=True), now)
        batches.finish(connection, batch_id, failed, now)
    return found


_ROUTE: dict[StepName, tuple[State, State]] = {step: (start, end) for step, start, end in STEPS}

_WAY_BACK: tuple[tuple[Movement, tuple[State, ...]], ...] = (
    ("uncredit", ("credited",)),
    ("refund", ("credited", "deducted")),
    ("release", ("reserved",)),
)
"""(movement, the states that need it), in the order in which they are done."""


def touched_by(
    step: StepName | Rollback,
) -> tuple[MovementPart, tuple[WalletRole, ...]]:
    """Return the transfers that a step is about to move, and the roles of the wallets it locks."""
    if step == "rollback":
        way_back = tuple(movement for movement, _ in _WAY_BACK)
        return MovementPart(UNFINISHED, failed=True), roles_in(way_back)
    return MovementPart((_ROUTE[step][0],)), roles_in((step,))


def _reserve(
    connection: Connection, batch_id: UUID, worker: str, attempt: int, *, claimed: bool = False
) -> Progress:
    waited_s = server_wait.total_s
    found = take(connection, batch_id, claimed=claimed)
    claim_s = server_wait.total_s - waited_s
    if not found:
        return Progress(left=batches.has_movable(connection, batch_id))
    reserved = MovementPart(("reserved",))
    _note_retry(connection, batch_id, reserved, worker, attempt)
    locked = lock_wallets(connection, batch_id, reserved, roles_in(("reserve",)))
    unmet, released = set_unmet_apart(connection, batch_id, worker=worker), Released()
    if unmet.rejected:
        part = MovementPart(("accepted",), failed=True)
        released = batches.finish(connection, batch_id, part, locked.now)
    moved = found - len(unmet.rejected) - len(unmet.waiting) - unmet.unjudged
    if moved:
        move(connection, "reserve", batch_id, reserved, locked.now)
    more = found == CLAIM_LIMIT or released.count > 0 or unmet.unjudged > 0
    return Progress(
        moved,
        left=moved > 0,
        more=more,
        awaited=tuple(released.rest),
        ended=len(unmet.rejected),
        claim_s=claim_s,
    )


def _forward(
    connection: Connection, step: StepName, batch_id: UUID, worker: str, attempt: int
) -> Progress:
    (part, roles), end = touched_by(step), _ROUTE[step][1]
    batches.hold_transfers(connection, batch_id, part)
    locked = lock_wallets(connection, batch_id, part, roles)
    found, failed = locked.transfers, 0
    if not found:
        return Progress(left=batches.has_movable(connection, batch_id))
    _note_retry(connection, batch_id, part, worker, attempt)
    if step != "deduct" and not locked.all_active:
        argument = {"batch": batch_id, "noticed_by": worker}
        failed = connection.execute(_fail_undeliverable(part), argument).rowcount
    released = Released()
    if found > failed:
        released = move(connection, step, batch_id, part, locked.now, enter=end)
    return Progress(
        found - failed,
        failed,
        left=found > failed,
        more=released.count > 0,
        awaited=tuple(released.rest),
        ended=found - failed if step == "commit" else 0,
    )


def _note_retry(
    connection: Connection, batch_id: UUID, part: MovementPart, worker: str, attempt: int
) -> None:
    """Note a retry: once the step has found work, and before it splits the part."""
    if attempt:
        batches.note(connection, "retried", batch_id, part, worker=worker, attempt=attempt)


@cache
def _fail_undeliverable(part: MovementPart) -> Executable:
    """Build the statement that fails each transfer whose destination is frozen or closed.

    A rule of its own: money is on its way, so the end is a rollback and not a rejection.
    """
    unfinished, destination = schema.unfinished, schema.wallets
    reason = literal("The destination wallet is ").concat(destination.c.status).concat(".")
    failed = (
        update(unfinished)
        .where(part.condition())
        .where(destination.c.id == unfinished.c.destination_id)
        .where(destination.c.status != "active")
        .values(failure_code=RolledBack.code, failure_detail=reason)
        .returning(unfinished.c.transfer_id, unfinished.c.failure_detail)
        .cte("failed")
    )
    rows = select(
        failed.c.transfer_id,
        literal("failed"),
        bindparam("noticed_by", type_=schema.events.c.worker.type),
        failed.c.failure_detail,
    )
    return insert(schema.events).from_select(["transfer_id", "event", "worker", "detail"], rows)
