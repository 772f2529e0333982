"""Waiting for transfers to finish, without each waiter asking the database.

Guarantees that one query serves everybody who waits in this process, and that waiters
never take up all of the server's threads: there is a bounded number of places.
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

PLACES = 16
"""In each process. The server has more threads than this (`api/gunicorn.conf.py`)."""
INTERVAL_S = 0.015
PAUSE_AFTER_ERROR_S = 0.25
LINGER_S = 1.0

Look = Callable[[list[UUID]], Mapping[UUID, Transfer]]
"""Those of the transfers that have ended, by id."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Waited:
    """What came of waiting: whether there was a place to, and the transfer if it ended."""

    applied: bool
    transfer: Transfer | None = None


@dataclass(slots=True, eq=False)
class _Waiter:
    transfer_id: UUID
    woken: threading.Event = field(default_factory=threading.Event)
    transfer: Transfer | None = None


class WaitingRoom:
    """Where requests wait. Its one thread starts with the first waiter and ends when idle.

    That first waiter comes after the server has forked, so the thread lives where it is
    needed. When the database fails it asks less often; each waiter has its own time limit.
    """

    def __init__(self, look: Look, *, places: int) -> None:
        self._look = look
        self._places = places
        self._waiters: set[_Waiter] = set()
        self._changed = threading.Condition()
        self._thread = BackgroundThread("waiting-room", self._watch, log=log)
        self._outage = OutageLog(log, "waiting_room_cannot_look", repeats=True)

    def wait(self, transfer_id: UUID, *, timeout_s: float) -> Waited:
        """Wait until the transfer has ended, or the time is over.

        Returns: not applied, at once, when all places are taken, or when no thread can be had
        that looks.
        """
        waiter = _Waiter(transfer_id)
        if not self._enter(waiter):
            return Waited(applied=False)
        try:
            waiter.woken.wait(timeout_s)
        finally:
            with self._changed:
                self._waiters.discard(waiter)
        return Waited(applied=True, transfer=waiter.transfer)

    def _enter(self, waiter: _Waiter) -> bool:
        with self._changed:
            if len(self._waiters) >= self._places or not self._thread.ensure_running():
                return False
            self._waiters.add(waiter)
            self._changed.notify()
            return True

    def _watch(self) -> None:
        while ids := self._awaited():
            threading.Event().wait(self._pause_after(ids))

    def _awaited(self) -> list[UUID]:
        """Return what is waited for; nothing when this thread is to end."""
        with self._changed:
            if not self._waiters:
                self._changed.wait(LINGER_S)
            if not self._waiters:  # also when whoever came has left again
                self._thread.retire()
            return list({waiter.transfer_id for waiter in self._waiters})

    def _pause_after(self, ids: list[UUID]) -> float:
        try:
            self._wake(self._look(ids))
        except LedgerError as error:
            self._outage.failed(error=type(error).__name__)
            return PAUSE_AFTER_ERROR_S
        except Exception as error:  # this thread serves all who wait: it goes on
            log.error("waiting_room_failed", exc_info=error)
            return PAUSE_AFTER_ERROR_S
        self._outage.recovered()
        return INTERVAL_S

    def _wake(self, finished: Mapping[UUID, Transfer]) -> None:
        with self._changed:
            for waiter in self._waiters:
                waiter.transfer = finished.get(waiter.transfer_id)
                if waiter.transfer is not None:
                    waiter.woken.set()
