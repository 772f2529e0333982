"""Settlement wait: holds requests until their transfer has ended, with one query for all.

Guarantees that one query serves all requests that wait in this process, and that they never
take up all threads of the server: the number of slots is bounded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from ledger.errors import LedgerError
from ledger.transfers import Transfer
from monitoring.logs import get_logger
from resilience.background_thread import BackgroundThread
from resilience.outage_log import OutageLog

SLOTS = 16
"""In each process. The server has more threads than this (`api/gunicorn.conf.py`)."""
INTERVAL_S = 0.015
PAUSE_AFTER_ERROR_S = 0.25
IDLE_S = 1.0
"""How long the thread lives on without a request that waits."""

FindSettled = Callable[[list[UUID]], Mapping[UUID, Transfer]]
"""Returns those of the transfers that have ended, by id."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WaitResult:
    """The result of waiting. applied: whether there was a slot. transfer: if it has ended."""

    applied: bool
    transfer: Transfer | None = None


@dataclass(slots=True, eq=False)
class _Waiter:
    transfer_id: UUID
    woken: threading.Event = field(default_factory=threading.Event)
    transfer: Transfer | None = None


class SettlementWaiter:
    """Lets requests wait. Its one thread starts with the first waiter and ends when idle.

    The first waiter comes after the server has forked, so the thread runs in the right process.
    While the database fails, the thread queries less often; each waiter has its own time limit.
    """

    def __init__(self, find_settled: FindSettled, *, slots: int) -> None:
        self._find_settled = find_settled
        self._slots = slots
        self._waiters: set[_Waiter] = set()
        self._changed = threading.Condition()
        self._thread = BackgroundThread("settlement-wait", self._watch, log=log)
        self._outage = OutageLog(log, "waiting_room_cannot_look", repeats=True)

    def wait(self, transfer_id: UUID, *, timeout_s: float) -> WaitResult:
        """Wait until the transfer has ended, or the time is over.

        Returns: at once with `applied=False`, when all slots are taken, or when the thread
        that queries cannot be started.
        """
        waiter = _Waiter(transfer_id)
        with self._changed:
            if len(self._waiters) >= self._slots or not self._thread.ensure_running():
                return WaitResult(applied=False)
            self._waiters.add(waiter)
            self._changed.notify()
        try:
            waiter.woken.wait(timeout_s)
        finally:
            with self._changed:
                self._waiters.discard(waiter)
        return WaitResult(applied=True, transfer=waiter.transfer)

    def _watch(self) -> None:
        while ids := self._awaited_ids():
            threading.Event().wait(self._query(ids))

    def _awaited_ids(self) -> list[UUID]:
        """Return the transfers that are waited for; none when this thread is to end."""
        with self._changed:
            if not self._waiters:
                self._changed.wait(IDLE_S)
            if not self._waiters:  # also when a waiter has come and left again
                self._thread.retire()
            return list({waiter.transfer_id for waiter in self._waiters})

    def _query(self, ids: list[UUID]) -> float:
        """Wake the waiters whose transfer has ended. Returns: how long to pause, in seconds."""
        try:
            settled = self._find_settled(ids)
        except LedgerError as error:
            self._outage.failed(error=type(error).__name__)
            return PAUSE_AFTER_ERROR_S
        except Exception as error:  # all that wait need this thread, so it goes on
            log.error("waiting_room_failed", exc_info=error)
            return PAUSE_AFTER_ERROR_S
        with self._changed:
            for waiter in self._waiters:
                waiter.transfer = settled.get(waiter.transfer_id)
                if waiter.transfer is not None:
                    waiter.woken.set()
        self._outage.recovered()
        return INTERVAL_S
