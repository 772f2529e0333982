"""Finding the one transfer that its batch's step cannot move, and giving only it up.

A batch whose step raised an unexpected error is cut in two, and both halves are driven
again, each as a batch of its own; a batch of one that fails once more, alone, is the culprit.
The cut is written first, so a crash in the middle of the search loses nothing.

Both halves get a new id. The old one then names nothing, and a second copy of the message
that failed cannot take what is left of its batch for the culprit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, case, func, select, update

from ledger import batches
from ledger.errors import Disposition, LedgerError, RolledBack, disposition
from ledger.ids import new_id
from ledger.movements import MovementPart
from ledger.postgres import schema
from ledger.postgres.database import savepoint
from ledger.recovery import NOTED_REDRIVES
from ledger.reserve import claim
from ledger.states import STEPS, UNFINISHED, StepName
from ledger.steps import run_step

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

    decide: the caller's own `disposition`, where it knows errors that the ledger does not.
    Returns: the batches to run the step on again; none when the culprit was found (then
    it waits for `roll_back`) or the batch has nothing to move.
    Harmless when somebody else has cut the batch already.
    """
    start = next(start for name, start, _ in STEPS if name == step)
    part = MovementPart((start,))
    batches.hold(connection, batch_id)
    if step == "reserve" and claim(connection, batch_id):
        # The failed attempt took its claim back with it, and this may be another one: what
        # is in it now has not failed yet, not even if it is a single transfer.
        return _cut(connection, batch_id, part)
    halves = _cut(connection, batch_id, part)
    if halves != [batch_id]:
        return halves
    # Others may have left the batch since it failed. So this one is tried once more, alone.
    proof = _failure_of(connection, step, batch_id, worker=worker, decide=decide)
    if proof is None:
        return halves
    _give_up(connection, batch_id, part, proof, worker=worker)
    return []


def _failure_of(
    connection: Connection,
    step: StepName,
    batch_id: UUID,
    *,
    worker: str,
    decide: Callable[[BaseException], Disposition],
) -> Exception | None:
    """Try the step and say how it failed; None when it went well, and stands.

    Raises: whatever is not the transfer's own fault.
    """
    try:
        with savepoint(connection):
            run_step(connection, step, batch_id, worker=worker)
    except Exception as error:
        if decide(error) is not Disposition.REJECT:
            raise
        return error
    return None


def isolate_roll_back(
    connection: Connection, batch_id: UUID, error: Exception, *, worker: str
) -> list[UUID]:
    """Cut the failed transfers of the batch in two, so that one does not hold up the others.

    Returns: the batches to roll back again; none when a single transfer is left. That one
    cannot even be undone: it keeps its state, is re-driven for ever, and needs a human.
    """
    part = MovementPart(UNFINISHED, failed=True)
    batches.hold(connection, batch_id)
    halves = _cut(connection, batch_id, part)
    if halves == [batch_id]:
        if connection.execute(_redrives(part), {"batch": batch_id}).scalar_one() <= NOTED_REDRIVES:
            detail = _describe(error)
            batches.note(
                connection, "rollback_failed", batch_id, part, worker=worker, detail=detail
            )
        return []
    return halves


def _cut(connection: Connection, batch_id: UUID, part: MovementPart) -> list[UUID]:
    """Returns: the batches that the part is in now: none, the one it was in, or two new ones."""
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


def _give_up(
    connection: Connection, batch_id: UUID, part: MovementPart, error: Exception, *, worker: str
) -> None:
    batches.note(connection, "failed", batch_id, part, worker=worker, detail=_describe(error))
    decided = {
        "failure_code": RolledBack.code,
        "failure_detail": "An unexpected error in one of its steps.",
    }
    connection.execute(
        update(schema.unfinished).where(part.condition()).values(decided), {"batch": batch_id}
    )


def _redrives(part: MovementPart) -> Select[Any]:
    return select(func.max(schema.unfinished.c.redrives)).where(part.condition())


def _describe(error: Exception) -> str:
    """The error in a few words for the timeline: a client reads it, so no SQL and no values."""
    detail = error.detail if isinstance(error, LedgerError) else type(error).__name__
    return detail[:MAX_DETAIL_LENGTH]
