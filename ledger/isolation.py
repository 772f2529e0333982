"""Finding the one transfer that its batch's step cannot move, and giving only it up.

A batch whose step raised an unexpected error is cut in two, and both halves are driven
again, each as a batch of its own; a batch of one that fails is the culprit. The cut is
written to the database first, so a crash in the middle of the search loses nothing.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, func, select, update

from ledger import batches, schema
from ledger.errors import LedgerError, RolledBack
from ledger.ids import new_id
from ledger.movements import Part
from ledger.reserving import claim
from ledger.states import STEPS, UNFINISHED, StepName

MAX_DETAIL_LENGTH = 200


def isolate_step(
    connection: Connection, step: StepName, batch_id: UUID, error: Exception, *, worker: str
) -> list[UUID]:
    """Cut the batch in two, or, when it is a single transfer, decide that transfer's failure.

    Returns: the batches to run the step on again; none when the culprit was found (then
    it waits for `roll_back`) or the batch has nothing to move.
    """
    start = next(start for name, start, _ in STEPS if name == step)
    part = Part((start,))
    batches.hold(connection, batch_id)
    if step == "reserve" and not batches.lock_transfers(connection, batch_id, part):
        # The failed attempt took its claim back with it.
        claim(connection, batch_id)
    halves = _cut(connection, batch_id, part)
    if len(halves) == 1:
        _give_up(connection, batch_id, part, error, worker=worker)
        return []
    return halves


def isolate_roll_back(
    connection: Connection, batch_id: UUID, error: Exception, *, worker: str
) -> list[UUID]:
    """Cut the failed transfers of the batch in two, so that one does not hold up the others.

    Returns: the batches to roll back again; none when a single transfer is left. That one
    cannot even be undone: it keeps its state, is re-driven for ever, and needs a human.
    """
    part = Part(UNFINISHED, failed=True)
    batches.hold(connection, batch_id)
    halves = _cut(connection, batch_id, part)
    if len(halves) == 1:
        detail = _describe(error)
        batches.note(connection, "rollback_failed", batch_id, part, worker=worker, detail=detail)
        return []
    return halves


def _cut(connection: Connection, batch_id: UUID, part: Part) -> list[UUID]:
    """Returns: the ids of what the part is in now: none, one, or two batches."""
    found = batches.lock_transfers(connection, batch_id, part)
    if found <= 1:
        return [batch_id] * found
    table = schema.unfinished
    half = (
        select(table.c.transfer_id).where(part.condition()).order_by(table.c.seq).offset(found // 2)
    )
    other = new_id()
    moved = update(table).where(table.c.transfer_id.in_(half))
    connection.execute(
        moved.values(batch_id=other, moved_at=func.clock_timestamp()), {"batch": batch_id}
    )
    return [batch_id, other]


def _give_up(
    connection: Connection, batch_id: UUID, part: Part, error: Exception, *, worker: str
) -> None:
    batches.note(connection, "failed", batch_id, part, worker=worker, detail=_describe(error))
    code = LedgerError.code if part.states == ("accepted",) else RolledBack.code
    connection.execute(
        update(schema.unfinished)
        .where(part.condition())
        .values(failure_code=code, failure_detail="An unexpected error in one of its steps."),
        {"batch": batch_id},
    )


def _describe(error: Exception) -> str:
    """The error in a few words for the timeline: a client reads it, so no SQL and no values."""
    detail = error.detail if isinstance(error, LedgerError) else type(error).__name__
    return detail[:MAX_DETAIL_LENGTH]
