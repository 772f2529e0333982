"""Replay: turns buffered requests into transfers, each exactly once.

Guarantees that every buffered request of a client ends as a transfer or as a recorded rejection,
however often it is replayed: its id is the one in the answer to its client. What the client may
do is read in the database, never in the entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC

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
    text,
)

from ledger.acceptance import Acceptance, accept
from ledger.buffer.entries import Buffered
from ledger.buffer.rejected import record_rejections
from ledger.clients import find_clients
from ledger.errors import Forbidden, IdempotencyKeyReused, Invalid, Rejection
from ledger.keys.revocations import KeyUse, keys_ended
from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, rows_argument, rows_parameter
from ledger.postgres.database import confirm, try_lock
from ledger.states import FINISHED

WHY_BUFFERED = "The database was away."
WHY_REFUSED = (
    "The API key was revoked or had expired, or its client was disabled, when this was buffered."
)
WHY_NOT_CARRIED_OUT = (
    "Another request with this key was buffered at this time; it is not carried out."
)
_LOCK_KEY = 0x7472_7565_6472_696E
"""A number of our own: the letters "truedrin"."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The results of some replayed requests. The field names are labels of a metric."""

    accepted: int = 0
    """New transfers that wait for a reserve."""
    refused: int = 0
    """New transfers and requests that were rejected."""
    known: int = 0
    """Recorded before, by an earlier replay or a repeat."""
    reused: int = 0
    """Too late: in the meantime, another request was made with the same key."""
    set_aside: int = 0
    """Not carried out, and kept for an operator; see `ledger.buffer.set_aside`."""

    def __add__(self, other: Replayed) -> Replayed:
        return Replayed(
            self.accepted + other.accepted,
            self.refused + other.refused,
            self.known + other.known,
            self.reused + other.reused,
            self.set_aside + other.set_aside,
        )

    def __bool__(self) -> bool:
        return self != Replayed()


def replay(connection: Connection, requests: Sequence[Buffered]) -> tuple[Replayed, list[Buffered]]:
    """Record buffered requests, in order, within the caller's transaction.

    A second call with the same requests changes nothing.
    Returns: the number of each outcome, and the requests that were left out because the database
    does not know their client.
    Raises: as `ledger.acceptance.accept`; then none of them is recorded.
    """
    known, unknown = authorise(connection, requests)
    allowed, refused = _sort_out(connection, known)
    record_rejections(connection, [(each, Forbidden(WHY_REFUSED)) for each in refused])
    answers = accept(connection, [buffered.request for buffered in allowed])
    pairs = list(zip(allowed, answers, strict=True))
    reused = [each for each, answer in pairs if isinstance(answer, IdempotencyKeyReused)]
    invalid = [
        (each, answer)
        for each, answer in pairs
        if isinstance(answer, Invalid) and not isinstance(answer, IdempotencyKeyReused)
    ]
    record_rejections(connection, invalid)
    _note(connection, "key_reused", reused, WHY_NOT_CARRIED_OUT)
    recorded = [
        (each, answer)
        for each, answer in pairs
        if isinstance(answer, Acceptance) and not answer.replayed
    ]
    _note(connection, "buffered", [each for each, _ in recorded], WHY_BUFFERED)
    accepted = sum(answer.transfer.state not in FINISHED for _, answer in recorded)
    repeats = sum(isinstance(answer, Acceptance) and answer.replayed for answer in answers)
    rejected = len(answers) - accepted - repeats - len(reused)
    if repeats:
        # They leave the buffer when this commits, but what recorded them may be in doubt.
        confirm(connection)
    rejected += len(refused)
    done = Replayed(accepted=accepted, refused=rejected, known=repeats, reused=len(reused))
    return done, unknown


def authorise(
    connection: Connection, requests: Sequence[Buffered]
) -> tuple[list[Buffered], list[Buffered]]:
    """Give each request its client as the database knows it now.

    Returns: the requests with their clients, and the requests whose client does not exist.
    """
    clients = find_clients(connection, {each.request.client.id for each in requests})
    known, unknown = [], []
    for each in requests:
        client = clients.get(each.request.client.id)
        if client is None:
            unknown.append(each)
        else:
            known.append(replace(each, request=replace(each.request, client=client)))
    return known, unknown


def _sort_out(
    connection: Connection, requests: Sequence[Buffered]
) -> tuple[list[Buffered], list[Buffered]]:
    """Return the requests whose key still worked when they were buffered, and the others.

    An API process that was cut off from the database could not know that the key had ended. What
    was buffered before the end is carried out.
    """
    uses = [KeyUse(each.request.client.id, each.request.key_id, each.at) for each in requests]
    ended = keys_ended(connection, uses) if uses else []
    pairs = list(zip(requests, ended, strict=True))
    return [each for each, has_ended in pairs if not has_ended], [
        each for each, has_ended in pairs if has_ended
    ]


def give_up(connection: Connection, buffered: Buffered) -> None:
    """Reject a request that the database does not accept, for a reason that no check expects."""
    record_rejections(connection, [(buffered, Rejection("The request could not be recorded."))])


def try_replay_lock(engine: Engine) -> AbstractContextManager[bool]:
    """Hold the lock of the replay for the block. Yields: False when another process has it.

    Two replays at once would do no harm, but would do all work twice.
    """
    return try_lock(engine, _LOCK_KEY)


def is_replaying(connection: Connection) -> bool:
    """Return whether a replay runs: requests may be in neither the buffer nor the ledger now."""
    return bool(connection.execute(_IS_REPLAYING).scalar_one())


# As pg_locks shows the lock of a 64-bit key.
_IS_REPLAYING = text(f"""
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1
          AND classid::bigint = {_LOCK_KEY >> 32} AND objid::bigint = {_LOCK_KEY & 0xFFFFFFFF}
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
""")  # noqa: S608 - our own numbers

_NOTED: Columns = {"transfer_id": Uuid(), "at": DateTime(timezone=True), "detail": Text()}


def _note(connection: Connection, event: str, requests: Sequence[Buffered], detail: str) -> None:
    """Write an event into the timeline of each request's transfer, once, with the request's time.

    The time is never later than now by the database's clock: if the API's clock is ahead, the
    start of a transfer would otherwise come after its end.
    """
    if requests:
        rows = [(each.id, each.at.astimezone(UTC).isoformat(), detail) for each in requests]
        connection.execute(_NOTE, rows_argument(_NOTED, rows) | {"event_noted": event})


_given = rows_parameter("given", _NOTED)
_event = bindparam("event_noted", type_=Text())
_is_noted = exists().where(
    schema.events.c.transfer_id == _given.c.transfer_id, schema.events.c.event == _event
)
_NOTE = insert(schema.events).from_select(
    ["transfer_id", "at", "event", "detail"],
    select(
        _given.c.transfer_id, func.least(_given.c.at, func.now()), _event, _given.c.detail
    ).where(~_is_noted),
)
