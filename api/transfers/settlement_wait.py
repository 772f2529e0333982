"""Settlement wait: holds requests until their transfer has ended, with one query for all.

Guarantees that one query serves all requests that wait in this process, and that they never
take up all threads of the server: the number of slots is bounded.

Workers send a hint when transfers have ended, and the query follows at once. A hint is believed in
nothing: the database says what has ended, and is also asked at intervals. These are short until
hints prove useful, and become short again when a transfer has ended without one. So hints that are
lost, whatever the reason, cost time once, and hints that anybody forges cost a bounded number of
queries.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from ledger.errors import LedgerError
from ledger.transfers import Transfer
from monitoring.logs import get_logger
from resilience.background_thread import BackgroundThread
from resilience.outage_log import OutageLog

SLOTS = 16
"""In each process. The server has more threads than this (`api/gunicorn.conf.py`)."""
INTERVAL_S = 0.015
"""How often the database is asked while no hints come."""
HINTED_INTERVAL_S = 0.2
HINTED_FIRST_S = 0.05
"""The same while they come, and how soon for a new waiter: the hint may have come before it."""
MIN_PAUSE_S = 0.005
PAUSE_SHARE = 4
"""Between two queries, however many hints come: so long, and so many times a query's duration."""
MAX_PAUSE_S = PAUSE_AFTER_ERROR_S = 0.25
IDLE_S = 1.0
"""How long the thread lives on without a request that waits."""

FindSettled = Callable[[list[UUID]], Mapping[UUID, Transfer]]
"""Returns those of the transfers that have ended, by id."""

log = get_logger(__name__)


class Listener(Protocol):
    """Calls a function at each hint, once it is started."""

    def start(self) -> None:
        """Listen from now on. Never raises; a second call is harmless."""


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

    def __init__(
        self,
        find_settled: FindSettled,
        *,
        slots: int,
        listen: Callable[[Callable[[], None]], Listener] | None = None,
    ) -> None:
        """listen: returns a listener that calls the function at each hint; None: there are none."""
        self._find_settled = find_settled
        self._slots = slots
        self._listener = listen(self._hear) if listen is not None else None
        self._waiters: set[_Waiter] = set()
        self._changed = threading.Condition()
        self._query_at_s = self._earliest_s = -math.inf
        self._is_hinted = False
        self._are_hints_useful = False
        self._thread = BackgroundThread("settlement-wait", self._watch, log=log)
        self._outage = OutageLog(log, "waiting_room_cannot_look", repeats=True)

    def wait(self, transfer_id: UUID, *, timeout_s: float) -> WaitResult:
        """Wait until the transfer has ended, or the time is over.

        Returns: at once with `applied=False`, when all slots are taken, or when the thread
        that queries cannot be started.
        """
        if self._listener is not None:
            self._listener.start()
        waiter = _Waiter(transfer_id)
        with self._changed:
            if len(self._waiters) >= self._slots or not self._thread.ensure_running():
                return WaitResult(applied=False)
            is_first = not self._waiters
            self._waiters.add(waiter)
            first_s = HINTED_FIRST_S if self._are_hints_useful else INTERVAL_S
            self._query_within(first_s, is_first=is_first)
        try:
            waiter.woken.wait(timeout_s)
        finally:
            with self._changed:
                self._waiters.discard(waiter)
        return WaitResult(applied=True, transfer=waiter.transfer)

    def _hear(self) -> None:
        """Query at once: transfers may have ended. Returns at once."""
        with self._changed:
            if self._waiters:
                self._is_hinted = True
                self._query_within(0.0)

    def _query_within(self, seconds: float, *, is_first: bool = False) -> None:
        """Set the time of the next query, unless it is sooner. Call it under the lock."""
        at_s = max(time.monotonic() + seconds, self._earliest_s)
        if is_first or at_s < self._query_at_s:
            self._query_at_s = at_s
            self._changed.notify()

    def _watch(self) -> None:
        while ids := self._awaited_ids():
            self._query(ids)

    def _awaited_ids(self) -> list[UUID]:
        """Wait for the time of a query. Returns: its transfers; none when this thread is to end."""
        with self._changed:
            while True:
                if not self._waiters:
                    self._changed.wait(IDLE_S)
                if not self._waiters:  # also when a waiter has come and left again
                    self._thread.retire()
                    return []
                left_s = self._query_at_s - time.monotonic()
                if left_s <= 0:
                    return list({waiter.transfer_id for waiter in self._waiters})
                self._changed.wait(left_s)

    def _query(self, ids: list[UUID]) -> None:
        """Wake the waiters whose transfer has ended, and set the time of the next query."""
        began_s = time.monotonic()
        with self._changed:
            is_hinted, self._is_hinted = self._is_hinted, False
        settled: Mapping[UUID, Transfer] = {}
        pause_s = 0.0
        try:
            settled = self._find_settled(ids)
        except LedgerError as error:
            self._outage.failed(error=type(error).__name__)
            pause_s = PAUSE_AFTER_ERROR_S
        except Exception as error:  # all that wait need this thread, so it goes on
            log.error("waiting_room_failed", exc_info=error)
            pause_s = PAUSE_AFTER_ERROR_S
        else:
            self._outage.recovered()
        ended_s = time.monotonic()
        with self._changed:
            ended = [waiter for waiter in self._waiters if waiter.transfer_id in settled]
            for waiter in ended:
                waiter.transfer = settled[waiter.transfer_id]
                waiter.woken.set()
                self._waiters.discard(waiter)
            if ended:
                self._are_hints_useful = is_hinted
            interval_s = HINTED_INTERVAL_S if self._are_hints_useful else INTERVAL_S
            share_s = min(PAUSE_SHARE * (ended_s - began_s), MAX_PAUSE_S)
            pause_s = max(pause_s, MIN_PAUSE_S, share_s)
            self._earliest_s = ended_s + pause_s
            # A hint that has come meanwhile may be about what the query did not see.
            self._query_at_s = ended_s + max(pause_s, 0.0 if self._is_hinted else interval_s)
