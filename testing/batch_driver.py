"""Batch driver: runs the steps of batches in this process, as workers do, without a broker."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Engine

from ledger import isolation, recovery, steps
from ledger.blocked import release
from ledger.errors import Disposition, LockTimeout, StatementTimeout, disposition
from ledger.funds import waits
from ledger.ids import new_id
from ledger.postgres.database import transaction
from ledger.states import STEPS, State, StepName, steps_from

MAX_RETRIES = 20


def release_all(engine: Engine, ended_ids: Sequence[UUID]) -> int:
    """Do as tasks/chain.py: _release. Returns: how many transfers were released."""
    count = 0
    while ended_ids:
        with transaction(engine) as connection:
            released = waits.release_rest(connection, ended_ids)
        count, ended_ids = count + released.count, released.rest
    return count


@dataclass
class BatchDriver:
    """Runs one chain after the other until none of them asks for another."""

    engine: Engine
    worker: str = "driver"
    errors: list[Exception] = field(default_factory=list)
    """What the steps raised, without the errors that were retried."""
    retried: list[Exception] = field(default_factory=list)
    _batches: deque[tuple[State, UUID]] = field(default_factory=deque)

    def drive(self, state: State = "accepted", batch_id: UUID | None = None) -> None:
        """Run the chain of this batch, or of a new one, and all chains that it asks for."""
        self._batches.append((state, batch_id or new_id()))
        while self._batches:
            self._run_chain(*self._batches.popleft())

    def redrive(self, *, stuck_after_s: float = 0.0) -> list[recovery.Redrive]:
        """Scan for stuck transfers, as the recovery scan does, and run their chains."""
        with transaction(self.engine) as connection:
            release(connection)
        with transaction(self.engine) as connection:
            found = recovery.redrive_stuck(
                connection, stuck_after_s=stuck_after_s, worker=self.worker
            )
        for redrive in found:
            if redrive.failed:
                self.roll_back(redrive.batch_id)
            else:
                self.drive(redrive.state, redrive.batch_id)
        return found

    def roll_back(self, batch_id: UUID) -> None:
        batches = [batch_id]
        while batches:
            batch = batches.pop()
            try:
                with transaction(self.engine) as connection:
                    steps.roll_back(connection, batch)
            except Exception as error:  # noqa: BLE001 - as in tasks/chain.py
                self._note(error)
                with transaction(self.engine) as connection:
                    batches += isolation.isolate_roll_back(
                        connection, batch, error, worker=self.worker
                    )

    def _run_chain(self, state: State, batch_id: UUID) -> None:
        for step in steps_from(state):
            progress = self._run_step(step, batch_id)
            if progress is None:
                return
            if release_all(self.engine, progress.awaited) or progress.more:
                self._batches.append(("accepted", new_id()))
            if progress.failed:
                self.roll_back(batch_id)
            if not progress.left:
                return

    def _run_step(self, step: str, batch_id: UUID) -> steps.Progress | None:
        """Run one step with its retries. Returns: its result; None when the batch was split."""
        name, start, _ = next(row for row in STEPS if row[0] == step)
        attempt = 0
        while True:
            try:
                with transaction(self.engine) as connection:
                    return steps.run_step(
                        connection, name, batch_id, worker=self.worker, attempt=attempt
                    )
            except Exception as error:  # noqa: BLE001 - as in tasks/chain.py
                if disposition(error) is Disposition.RETRY and attempt < MAX_RETRIES:
                    attempt += 1
                    self.retried.append(error)
                    if self._is_halved(error, name, batch_id):
                        return None
                    continue
                self._note(error)
                with transaction(self.engine) as connection:
                    halves = isolation.isolate_step(connection, name, batch_id, worker=self.worker)
                self._batches.extend((start, half) for half in halves)
                if not halves:
                    self.roll_back(batch_id)
                return None

    def _is_halved(self, error: Exception, step: StepName, batch_id: UUID) -> bool:
        """Do as tasks/chain.py after a time-out."""
        halves: list[UUID] = []
        if isinstance(error, LockTimeout | StatementTimeout):
            with transaction(self.engine) as connection:
                blocked = steps.find_blocked(connection, step, batch_id)
                if isinstance(error, StatementTimeout) and not blocked:
                    halves = isolation.halve(connection, step, batch_id)
        if len(halves) < 2:
            return False
        start = next(start for name, start, _ in STEPS if name == step)
        self._batches.extend((start, half) for half in halves)
        return True

    def _note(self, error: Exception) -> None:
        if disposition(error) is not Disposition.REJECT:
            raise error
        self.errors.append(error)
