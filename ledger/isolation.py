"""Isolation: finds the one transfer that makes its batch fail, and gives up only that one.

A batch whose step raised an unexpected error is cut in two, and both halves are driven
again, each as a batch of its own. A batch of one transfer that fails again is the cause.
The cut is written first, so a crash in the middle of the search loses nothing.

Both halves get a new id. The old id then names no transfer, so a second copy of the failed
message finds nothing, and cannot mistake the rest of the batch for the cause.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from sqlalchemy import Connection, case, func, select, update

from ledger import batches
from ledger.errors import Disposition, LedgerError, RolledBack, disposition
from ledger.ids import new_id
from ledger.movements import MovementPart
from ledger.postgres import schema
from ledger.postgres.database import savepoint
from ledger.recovery import NOTED_REDRIVES
from ledger.reserve import claim
from ledger.states import StepName
from ledger.steps import Rollback, run_step, touched_by

MAX_DETAIL_LENGTH = 200


def isolate_step(
    connection: Connection,
    step: StepName,
    batch_id: UUID,
    *,
    worker: str,
    decide: Callable[[BaseException], Disposition] = disposition,
) -> list[UUID]:
    """Cut the batch in two, or, when it is a single transfer, decide that transfer's failure.

    decide: the caller's own `disposition`, if it knows errors that the ledger does not.
    Returns: the batches to run the step on again; none when the failing transfer was found
    (it then waits for `roll_back`) or the batch has nothing to move.
    Harmless when another worker has cut the batch already.
    """
    part, _ = touched_by(step)
    batches.lock_batch(connection, batch_id)
    if step == "reserve" and claim(connection, batch_id):
        # The claim was undone with the failed attempt, and this is a new one, perhaps of other
        # transfers: they have not failed yet, not even a single one.
        return _cut(connection, batch_id, part)
    halves = _cut(connection, batch_id, part)
    if halves != [batch_id]:
        return halves
    # The others may have left the batch after it failed. So this one is tried once more, alone.
    failure = _failure_of(connection, step, batch_id, worker=worker, decide=decide)
    if failure is None:
        return halves
    batches.note(connection, "failed", batch_id, part, worker=worker, detail=_describe(failure))
    give_up = update(schema.unfinished).where(part.condition())
    decided = {
        "failure_code": RolledBack.code,
        "failure_detail": "An unexpected error in one of its steps.",
    }
    connection.execute(give_up.values(decided), {"batch": batch_id})
    return []


def _failure_of(
    connection: Connection,
    step: StepName,
    batch_id: UUID,
    *,
    worker: str,
    decide: Callable[[BaseException], Disposition],
) -> Exception | None:
    """Run the step. Returns: its error, or None when it succeeded; its changes then stay.

    Raises: every error that the transfer did not cause.
    """
    try:
        with savepoint(connection):
            run_step(connection, step, batch_id, worker=worker)
    except Exception as error:
        if decide(error) is not Disposition.REJECT:
            raise
        return error
    return None


def halve(connection: Connection, step: StepName | Rollback, batch_id: UUID) -> list[UUID]:
    """Cut the batch in two, after a statement of the step took too long. It must be locked.

    Returns: the batches to run the step on again; one at most if there is nothing to cut.
    """
    return _cut(connection, batch_id, touched_by(step)[0])


def isolate_roll_back(
    connection: Connection, batch_id: UUID, error: Exception, *, worker: str
) -> list[UUID]:
    """Cut the failed transfers of the batch in two, so that one does not hold up the others.

    Returns: the batches to roll back again; none when a single transfer is left. That one
    cannot be undone: it keeps its state, is re-driven again and again, and needs an operator.
    """
    part, _ = touched_by("rollback")
    batches.lock_batch(connection, batch_id)
    halves = _cut(connection, batch_id, part)
    if halves == [batch_id]:
        redrives = select(func.max(schema.unfinished.c.redrives)).where(part.condition())
        if connection.execute(redrives, {"batch": batch_id}).scalar_one() <= NOTED_REDRIVES:
            detail = _describe(error)
            batches.note(
                connection, "rollback_failed", batch_id, part, worker=worker, detail=detail
            )
        return []
    return halves


def _cut(connection: Connection, batch_id: UUID, part: MovementPart) -> list[UUID]:
    """Cut the part in two. Returns: its batches now: none, the old one, or two new ones."""
    found = batches.lock_transfers(connection, batch_id, part)
    if found <= 1:
        return [batch_id] * found
    table, halves = schema.unfinished, [new_id(), new_id()]
    condition = part.condition()
    first = select(table.c.transfer_id).where(condition).order_by(table.c.seq).limit(found // 2)
    half = case((table.c.transfer_id.in_(first), halves[0]), else_=halves[1])
    cut = update(table).where(condition)
    connection.execute(
        cut.values(batch_id=half, moved_at=func.statement_timestamp()), {"batch": batch_id}
    )
    return halves


def _describe(error: Exception) -> str:
    """Return the error in a few words for the timeline, which clients read: no SQL, no values."""
    detail = error.detail if isinstance(error, LedgerError) else type(error).__name__
    return detail[:MAX_DETAIL_LENGTH]
