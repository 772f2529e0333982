"""Intake: handing checked requests to the ledger in groups, and telling the workers.

Guarantees that a request is stored in the database or, while that is away, in the broker's
buffer, before anybody is told that it was accepted; and that it is stored under the same id in
either, so that in doubt it can be stored in both.

Requests that arrive at the same time in one process share one statement and one commit,
like a database's own group commit: while one group is being written the next one gathers.
An idle process writes at once; a busy one writes larger groups instead of waiting longer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from api.database import Database
from ledger.buffering import Buffered, IntakeBuffer, Kept
from ledger.errors import IdempotencyKeyReused, Invalid, Overloaded, Unavailable
from ledger.intake import Answer, TransferRequest, accept, invalid_by_itself
from ledger.states import FINISHED
from monitoring.logs import get_logger

MAX_GROUP = 500
"""The most requests that share one statement."""
PATIENCE_S = 25.0
"""Longer than the writer can take: two tries at the database and one at the buffer."""
TRIES = 2
"""One more than one, for a connection that broke while it lay idle in the pool."""

Outcome = Answer | Kept | Invalid
"""What became of a request: stored in the database, kept in the buffer, or neither."""

log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Ticket:
    """One request on its way through a group; `called` when there is news for its thread."""

    request: TransferRequest
    called: threading.Event = field(default_factory=threading.Event)
    writes_next: bool = False
    result: Outcome | Exception | None = None


class Intake:
    """Submits transfer requests. Safe to use from many threads."""

    def __init__(self, database: Database, buffer: IntakeBuffer, kick: Callable[[], None]) -> None:
        """Take what to store in, where to keep what cannot be stored, and whom to tell.

        kick: tells the workers that there is work; never blocks, never raises.
        """
        self._database = database
        self._buffer = buffer
        self._kick = kick
        self._lock = threading.Lock()
        self._gathering: deque[_Ticket] = deque()
        self._writing = False

    def submit(self, requests: list[TransferRequest]) -> list[Outcome]:
        """Record each request, or find the transfer that its key stands for already.

        Returns: per request, in order, what `ledger.intake.accept` answers or, while the
        database is away, what the buffer keeps.
        Raises: Overloaded: when the buffer is full. Unavailable: when neither could be
        reached, or their answers were lost; a repeat tells, for a second call with the same
        requests changes nothing.
        """
        if len(requests) == 1:
            return [self._submit_one(requests[0])]
        return self._write(requests)

    def _submit_one(self, request: TransferRequest) -> Outcome:
        ticket = _Ticket(request)
        with self._lock:
            self._gathering.append(ticket)
            ticket.writes_next = not self._writing
            self._writing = True
        if not ticket.writes_next and not ticket.called.wait(PATIENCE_S):
            self._leave(ticket)
        if ticket.writes_next:
            self._write_group()
        if isinstance(ticket.result, Outcome):
            return ticket.result
        raise ticket.result or Unavailable

    def _leave(self, ticket: _Ticket) -> None:
        """Give up waiting, unless this thread has just been chosen to write."""
        with self._lock:
            if ticket in self._gathering and not ticket.writes_next:
                self._gathering.remove(ticket)

    def _write_group(self) -> None:
        """Write what has gathered, then let the first of those who came meanwhile go on."""
        with self._lock:
            size = min(len(self._gathering), MAX_GROUP)
            group = [self._gathering.popleft() for _ in range(size)]
        try:
            self._answer(group)
        finally:
            with self._lock:
                heir = self._gathering[0] if self._gathering else None
                self._writing = heir is not None
                if heir is not None:
                    heir.writes_next = True
                    heir.called.set()
            for ticket in group:
                ticket.called.set()

    def _answer(self, group: list[_Ticket]) -> None:
        try:
            for ticket, answer in zip(
                group, self._write([ticket.request for ticket in group]), strict=True
            ):
                ticket.result = answer
        except Unavailable as error:
            for ticket in group:
                ticket.result = error
        except Exception as error:  # noqa: BLE001 - each request's thread raises its own again
            if len(group) == 1:
                group[0].result = error
                return
            # Something in one of them does not go in: its neighbours must not suffer for it.
            for ticket in group:
                self._answer([ticket])

    def _write(self, requests: list[TransferRequest]) -> list[Outcome]:
        in_doubt = False
        for _ in range(TRIES):
            in_doubt |= self._database.is_up()
            try:
                return self._record(requests)
            except Unavailable as error:
                if self._database.is_up():
                    log.warning("intake_not_recorded", error=str(error), requests=len(requests))
        try:
            return self._keep(requests)
        except Overloaded as error:
            # It says that nothing was recorded, which nobody knows when an answer was lost.
            if in_doubt:
                raise Unavailable from error
            raise

    def _record(self, requests: list[TransferRequest]) -> list[Outcome]:
        # One statement records all, so it needs no transaction around it.
        with self._database.autocommit() as connection:
            answers = accept(connection, requests)
        # After the commit: a worker that comes earlier would not see the rows.
        if any(map(_is_new_work, answers)):
            self._kick()
        return list(answers)

    def _keep(self, requests: list[TransferRequest]) -> list[Outcome]:
        """Buffer the requests, but for those that need no database to be found wrong."""
        wrong = [invalid_by_itself(request) for request in requests]
        now = datetime.now(UTC)
        sound = [
            Buffered(request, now)
            for request, invalid in zip(requests, wrong, strict=True)
            if invalid is None
        ]
        kept = iter(self._buffer.put(sound) if sound else ())
        return [
            invalid or _checked(next(kept), request)
            for request, invalid in zip(requests, wrong, strict=True)
        ]


def _checked(kept: Kept, request: TransferRequest) -> Outcome:
    return kept if kept.buffered.is_repeated_by(request) else IdempotencyKeyReused()


def _is_new_work(answer: Answer | Invalid) -> bool:
    return (
        isinstance(answer, Answer) and not answer.replayed and answer.transfer.state not in FINISHED
    )
