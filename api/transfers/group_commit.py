"""Group commit: stores checked requests in the ledger together, and tells the workers.

Guarantees that a request is stored in the database or, while that is away, in the broker's
buffer, before it is answered as accepted. It has the same id in both, so it can safely be
stored in both when an answer was lost.

Requests that arrive at the same time in one process share one statement and one commit, like
a database's own group commit: while one group is being written, the next one gathers. An idle
process writes at once; a busy one writes larger groups instead of waiting longer.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from api.database import Database
from ledger.acceptance import Acceptance, TransferRequest, accept, invalid_by_itself
from ledger.buffer.entries import Buffered, IntakeBuffer, Kept
from ledger.buffer.replaying import is_replaying
from ledger.errors import IdempotencyKeyReused, Invalid, Overloaded, Unavailable
from ledger.funds.door import OnLack, Undecided
from ledger.postgres.database import confirm
from ledger.states import FINISHED
from monitoring.logs import get_logger
from monitoring.metrics.catalogue import PART_SECONDS
from resilience.cooldown import Cooldown

MAX_GROUP = 500
"""The most requests that share one statement."""
GROUP_TIMEOUT_S = 25.0
"""Longer than the writer can take: two tries at the database and one at the buffer."""
TRIES = 2
"""The second is for a connection that broke while it lay idle in the pool."""
NOT_ASKED_FOR_S = 2.0
"""A broker that did not answer is not asked again for so long: other requests wait meanwhile."""

Outcome = Acceptance | Kept | Invalid
"""The result of a request: stored in the database, kept in the buffer, or neither."""

log = get_logger(__name__)


def _taken_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class _Ticket:
    """One request in a group. Its thread waits for `ready`, a lock that others release once.

    They do so when the result is there, or when the thread is to write. An Event has two locks,
    and its waiter is woken while the other one is still held.
    """

    request: TransferRequest
    ready: threading.Lock = field(default_factory=_taken_lock)
    is_leader: bool = False
    result: Outcome | Exception | None = None


class GroupCommit:
    """Submits transfer requests. Safe to use from many threads."""

    def __init__(self, database: Database, buffer: IntakeBuffer, kick: Callable[[], None]) -> None:
        """Take the database, the buffer for its outages, and how to reach the workers.

        kick: tells the workers that there is work; never blocks, never raises.
        """
        self._database = database
        self._buffer = buffer
        self._kick = kick
        self._asking = Cooldown(NOT_ASKED_FOR_S)
        self._lock = threading.Lock()
        self._gathering: deque[_Ticket] = deque()
        self._writing = False

    def submit(self, requests: list[TransferRequest]) -> list[Outcome]:
        """Record each request, or find the transfer that its key stands for already.

        Returns: per request, in order, what `ledger.acceptance.accept` answers or, while the
        database is away, what the buffer keeps.
        Raises: Overloaded: when the buffer is full. Unavailable: when neither could be
        reached, or their answers were lost. A second call with the same requests stores
        nothing twice, and tells which it was.
        """
        if len(requests) == 1:
            return [self._submit_one(requests[0])]
        outcomes: list[Outcome] = []
        for answer in self._write(requests):
            if isinstance(answer, Unavailable):
                raise answer
            outcomes.append(answer)
        return outcomes

    def _submit_one(self, request: TransferRequest) -> Outcome:
        """Join the group that gathers now, and write it if no other thread is writing."""
        ticket = _Ticket(request)
        with self._lock:
            self._gathering.append(ticket)
            ticket.is_leader = not self._writing
            self._writing = True
        if not ticket.is_leader and not ticket.ready.acquire(timeout=GROUP_TIMEOUT_S):
            with self._lock:
                # Leave the group, unless this thread was made its leader in this moment.
                if ticket in self._gathering and not ticket.is_leader:
                    self._gathering.remove(ticket)
        if ticket.is_leader:
            self._write_group()
        if isinstance(ticket.result, Outcome):
            return ticket.result
        raise ticket.result or Unavailable

    def _write_group(self) -> None:
        """Write the group that has gathered, then make the first of the next one its leader."""
        with self._lock:
            size = min(len(self._gathering), MAX_GROUP)
            group = [self._gathering.popleft() for _ in range(size)]
        try:
            self._answer(group)
        finally:
            with self._lock:
                next_leader = self._gathering[0] if self._gathering else None
                self._writing = next_leader is not None
                if next_leader is not None:
                    next_leader.is_leader = True
                    next_leader.ready.release()
            for ticket in group:
                if not ticket.is_leader:
                    ticket.ready.release()

    def _answer(self, group: list[_Ticket]) -> None:
        try:
            for ticket, answer in zip(
                group, self._write([ticket.request for ticket in group]), strict=True
            ):
                ticket.result = answer
        except Unavailable as error:
            for ticket in group:
                ticket.result = error
        except Exception as error:  # noqa: BLE001 - the thread of the request raises it
            if len(group) == 1:
                group[0].result = error
                return
            # One of them cannot be stored. Try each by itself, so that the others are.
            for ticket in group:
                self._answer([ticket])

    def _write(self, requests: list[TransferRequest]) -> Sequence[Outcome | Unavailable]:
        in_doubt = False
        for attempt in range(TRIES):
            in_doubt |= self._database.is_up()
            try:
                recorded = self._record(requests)
                if attempt:
                    # What an earlier try has committed can be seen before a standby has it.
                    with self._database.autocommit() as connection:
                        confirm(connection)
            except Unavailable as error:
                if self._database.is_up():
                    log.warning("intake_not_recorded", error=str(error), requests=len(requests))
            else:
                return recorded
        # `Overloaded` says that nothing was recorded. After a lost answer that is not known.
        try:
            answers = self._keep(requests)
        except Overloaded as error:
            if in_doubt:
                raise Unavailable from error
            raise
        return [
            Unavailable() if in_doubt and isinstance(answer, Overloaded) else answer
            for answer in answers
        ]

    def _record(self, requests: list[TransferRequest]) -> list[Outcome]:
        answers = self._accept(requests, self._on_lack)
        pairs = list(zip(requests, answers, strict=True))
        left = [request for request, answer in pairs if isinstance(answer, Undecided)]
        behind = iter(self._queue_behind(left) if left else ())
        return [next(behind) if isinstance(each, Undecided) else each for each in answers]

    def _accept(
        self, requests: list[TransferRequest], on_lack: Callable[[Connection], OnLack]
    ) -> list[Acceptance | Invalid | Undecided]:
        began_s = time.perf_counter()
        # One statement records all, so it needs no transaction around it.
        with self._database.autocommit() as connection:
            answers = accept(connection, requests, on_lack=lambda: on_lack(connection))
        PART_SECONDS.labels("door").observe(time.perf_counter() - began_s)
        # After the commit: a worker that looks earlier would not see the rows.
        if any(
            isinstance(answer, Acceptance)
            and not answer.replayed
            and answer.transfer.state not in FINISHED
            for answer in answers
        ):
            self._kick()
        return answers

    def _on_lack(self, connection: Connection) -> OnLack:
        """Decide about requests whose source lacks funds: older, buffered ones may bring them.

        While the broker does not say whether it has any, the request is recorded, not refused.
        """
        if not self._asking.allows():
            return "record"
        try:
            is_empty = not self._buffer.count()
        except Unavailable:
            self._asking.start()
            return "record"
        self._asking.end()
        # In this order: what has left the buffer since is in the database, or in a replay.
        return "refuse" if is_empty and not is_replaying(connection) else "leave"

    def _queue_behind(self, requests: list[TransferRequest]) -> list[Outcome]:
        """Buffer requests behind the older ones, so that they are judged after those."""
        kept: Sequence[Outcome | Unavailable]
        try:
            kept = self._keep(requests)
        except Unavailable as error:
            kept = [error] * len(requests)
        refused = [each for each in kept if isinstance(each, Unavailable)]
        if refused:
            log.warning("not_queued_behind", error=str(refused[0]), requests=len(refused))
        pairs = zip(requests, kept, strict=True)
        left = [request for request, answer in pairs if isinstance(answer, Unavailable)]
        answers = self._accept(left, lambda _: "record") if left else []
        recorded = (each for each in answers if not isinstance(each, Undecided))
        return [next(recorded) if isinstance(each, Unavailable) else each for each in kept]

    def _keep(self, requests: list[TransferRequest]) -> list[Outcome | Unavailable]:
        """Buffer the requests, except those that are invalid whatever the database holds."""
        errors = [invalid_by_itself(request) for request in requests]
        now = self._database.clock.now()
        valid = [
            Buffered(request, now)
            for request, invalid in zip(requests, errors, strict=True)
            if invalid is None
        ]
        kept = iter(self._buffer.put(valid) if valid else ())
        return [
            invalid or _checked(next(kept), request)
            for request, invalid in zip(requests, errors, strict=True)
        ]


def _checked(kept: Kept | Unavailable, request: TransferRequest) -> Outcome | Unavailable:
    if isinstance(kept, Unavailable):
        return kept
    return kept if kept.buffered.is_repeated_by(request) else IdempotencyKeyReused()
