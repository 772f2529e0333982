"""Replaying: what was buffered while the database was away becomes transfers, each once.

Guarantees that every buffered request ends as a transfer or as a recorded refusal, however
often it is replayed: its id is the one that its client was told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from sqlalchemy import (
    Connection,
    DateTime,
    Engine,
    Text,
    Uuid,
    bindparam,
    exists,
    func,
    insert,
    select,
)

from ledger.acceptance import Acceptance, accept
from ledger.buffer.entries import Buffered
from ledger.buffer.rejected import refuse
from ledger.errors import IdempotencyKeyReused, Invalid, Rejection
from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, rows_argument, rows_parameter
from ledger.postgres.database import transaction
from ledger.states import FINISHED

WHY_BUFFERED = "The database was away."
WHY_NOT_CARRIED_OUT = "Another request with this key had been buffered then; it is not carried out."
_LOCK_KEY = 0x7472_7565_6472_696E
"""Any number of ours; this one spells "truedrin"."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of some buffered requests."""

    accepted: int = 0
    """New transfers that wait for a reserve."""
    refused: int = 0
    """New ones that were rejected at once."""
    known: int = 0
    """What was there already, from an earlier replay or a repeat."""
    reused: int = 0
    """What came too late: its key stands for another request, made since."""

    def __add__(self, other: Replayed) -> Replayed:
        return Replayed(
            self.accepted + other.accepted,
            self.refused + other.refused,
            self.known + other.known,
            self.reused + other.reused,
        )

    def __bool__(self) -> bool:
        return self != Replayed()


def replay(connection: Connection, requests: Sequence[Buffered]) -> Replayed:
    """Record buffered requests, in order, within the caller's transaction.

    A second call with the same requests changes nothing.
    Raises: whatever `ledger.acceptance.accept` raises; then nothing of them is recorded.
    """
    answers = accept(connection, [buffered.request for buffered in requests])
    pairs = list(zip(requests, answers, strict=True))
    reused = [each for each, answer in pairs if isinstance(answer, IdempotencyKeyReused)]
    wrong = [
        (each, answer)
        for each, answer in pairs
        if isinstance(answer, Invalid) and not isinstance(answer, IdempotencyKeyReused)
    ]
    refuse(connection, wrong)
    _note_reused(connection, reused)
    recorded = [
        (each, answer)
        for each, answer in pairs
        if isinstance(answer, Acceptance) and not answer.replayed
    ]
    _note_buffered(connection, [each for each, _ in recorded])
    open_ = sum(answer.transfer.state not in FINISHED for _, answer in recorded)
    known = sum(isinstance(answer, Acceptance) and answer.replayed for answer in answers)
    refused = len(answers) - open_ - known - len(reused)
    return Replayed(accepted=open_, refused=refused, known=known, reused=len(reused))


def give_up(connection: Connection, buffered: Buffered) -> None:
    """Refuse a request that the database does not take in, for a reason that nobody foresaw."""
    refuse(connection, [(buffered, Rejection("The request could not be recorded."))])


@contextmanager
def alone(engine: Engine) -> Iterator[bool]:
    """Keep others from replaying at the same time. Yields: whether nobody else is at it.

    Two at once would do no harm, only everything twice. The lock goes with a transaction, which
    the server ends when it is idle for too long: whoever stands still must not hold up all.
    """
    with transaction(engine) as connection:
        lock = select(func.pg_try_advisory_xact_lock(_LOCK_KEY))
        yield bool(connection.execute(lock).scalar_one())


_NOTED: Columns = {"transfer_id": Uuid(), "at": DateTime(timezone=True), "detail": Text()}


def _note_buffered(connection: Connection, requests: Sequence[Buffered]) -> None:
    """Write into the timelines when the requests came."""
    _note(connection, "buffered", requests, WHY_BUFFERED)


def _note_reused(connection: Connection, requests: Sequence[Buffered]) -> None:
    """Write into the timeline of what a key stands for that another request came too late."""
    _note(connection, "key_reused", requests, WHY_NOT_CARRIED_OUT)


def _note(connection: Connection, event: str, requests: Sequence[Buffered], detail: str) -> None:
    """Write an event with the time of each request, once for each transfer.

    The time is never later than now by this database: a clock that is ahead would put the
    beginning of a transfer behind its end.
    """
    if requests:
        rows = [(each.id, each.at.astimezone(UTC).isoformat(), detail) for each in requests]
        connection.execute(_NOTE, rows_argument(_NOTED, rows) | {"event_noted": event})


def _build_note() -> Any:
    given = rows_parameter("given", _NOTED)
    event = bindparam("event_noted", type_=Text())
    noted = exists().where(
        schema.events.c.transfer_id == given.c.transfer_id, schema.events.c.event == event
    )
    at = func.least(given.c.at, func.now())
    rows = select(given.c.transfer_id, at, event, given.c.detail).where(~noted)
    return insert(schema.events).from_select(["transfer_id", "at", "event", "detail"], rows)


_NOTE = _build_note()
