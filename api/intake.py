"""Intake: handing checked requests to the ledger in groups, and telling the workers.

Requests that arrive at the same time in one process share one statement and one commit,
like a database's own group commit: while one group is being written the next one gathers.
An idle process writes at once; a busy one writes larger groups instead of waiting longer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Engine

from ledger.database import autocommit
from ledger.errors import Invalid, Unavailable
from ledger.intake import Answer, TransferRequest, accept
from ledger.states import FINISHED

MAX_GROUP = 500
"""The most requests that share one statement."""
PATIENCE_S = 60.0
"""Longer than the writer can take, whose every step the database bounds."""


@dataclass(slots=True, eq=False)
class _Ticket:
    """One request on its way through a group; `called` when there is news for its thread."""

    request: TransferRequest
    called: threading.Event = field(default_factory=threading.Event)
    writes_next: bool = False
    result: Answer | Invalid | Exception | None = None


class Intake:
    """Submits transfer requests. Safe to use from many threads."""

    def __init__(self, engine: Engine, kick: Callable[[], None]) -> None:
        """Take what to store with and whom to tell.

        kick: tells the workers that there is work; never blocks, never raises.
        """
        self._engine = engine
        self._kick = kick
        self._lock = threading.Lock()
        self._gathering: deque[_Ticket] = deque()
        self._writing = False

    def submit(self, requests: list[TransferRequest]) -> list[Answer | Invalid]:
        """Record each request, or find the transfer that its key stands for already.

        Returns: per request, in order, what `ledger.intake.accept` answers.
        Raises: Unavailable: when nothing was recorded, or the database's answer was lost; a
        repeat tells, for a second call with the same requests changes nothing.
        """
        if len(requests) == 1:
            return [self._submit_one(requests[0])]
        return self._write(requests)

    def _submit_one(self, request: TransferRequest) -> Answer | Invalid:
        ticket = _Ticket(request)
        with self._lock:
            self._gathering.append(ticket)
            ticket.writes_next = not self._writing
            self._writing = True
        if not ticket.writes_next and not ticket.called.wait(PATIENCE_S):
            self._leave(ticket)
        if ticket.writes_next:
            self._write_group()
        if isinstance(ticket.result, Answer | Invalid):
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

    def _write(self, requests: list[TransferRequest]) -> list[Answer | Invalid]:
        # One statement records all, so it needs no transaction around it.
        with autocommit(self._engine) as connection:
            answers = accept(connection, requests)
        # After the commit: a worker that comes earlier would not see the rows.
        if any(map(_is_new_work, answers)):
            self._kick()
        return answers


def _is_new_work(answer: Answer | Invalid) -> bool:
    return (
        isinstance(answer, Answer) and not answer.replayed and answer.transfer.state not in FINISHED
    )
