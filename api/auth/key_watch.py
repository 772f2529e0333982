"""Key watch: tells the key ring which keys are refused, whether or not anybody uses them.

Guarantees that a process which reaches the database knows of a refusal within 10 s, so that it
still knows when the database goes away. A metric says when it last read them. One small statement
per WATCH_EVERY_S and process; the days of use are written with it, and so cost no request a
statement.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Final

from api.auth.key_ring import KEPT_FOR, KeyRing
from api.database import Database
from ledger.errors import Unavailable
from ledger.keys.revocations import PAGE, database_time, note_use, refused_since
from monitoring.logs import get_logger
from monitoring.metrics.catalogue import KEYS_KNOWN_AT
from resilience.background_thread import BackgroundThread
from resilience.outage_log import OutageLog

WATCH_EVERY_S: Final = 4.0
"""With the time-out of a statement it stays below the 10 s of the guarantee."""
_MAX_PAGES: Final = 100

log = get_logger(__name__)


class KeyWatch:
    """Watches the database for the key ring of its process, in a thread of its own."""

    def __init__(self, database: Database) -> None:
        self._ring: KeyRing | None = None
        self._database = database
        self._newest: datetime | None = None
        self._hurry = threading.Event()
        self._failures = OutageLog(log, "key_watch_failed", "key_watch_recovered", repeats=True)
        self._thread = BackgroundThread(
            "key-watch", self._run, log=log, not_started="key_watch_not_started"
        )

    def start(self, ring: KeyRing) -> None:
        """Start the thread, for this ring, unless it runs. Returns at once and never raises."""
        if self._ring is None:
            KEYS_KNOWN_AT.set(time.time())  # from here on its age counts, also if nothing is read
        self._ring = ring
        self._thread.ensure_running()

    def look_now(self) -> None:
        """Read the refusals now: this process has just made one. Returns at once."""
        self._hurry.set()

    def run_once(self, ring: KeyRing) -> None:
        """Read the refusals since the last time, at first those of KEPT_FOR.

        Raises: Unavailable: when the database does not answer; the next call reads the same.
        """
        asked_at_s = self._database.clock.elapsed_s()
        with self._database.autocommit() as connection:
            now = database_time(connection)
            self._database.clock.set(now, asked_at_s=asked_at_s)
            since = self._newest or now - KEPT_FOR
            page = refused_since(connection, since)
            for _ in range(_MAX_PAGES):
                ring.refuse(page)
                if page:
                    self._newest = page[-1].at
                if len(page) < PAGE:
                    break
                page = refused_since(connection, since, after=page[-1])
            KEYS_KNOWN_AT.set(time.time())
            note_use(connection, ring.take_used())

    def _run(self) -> None:
        while self._ring is not None:
            try:
                self.run_once(self._ring)
            except Unavailable as error:  # the breaker says so already
                log.debug("keys_not_watched", error=str(error))
            except Exception as error:  # noqa: BLE001 - the thread goes on: a revocation may come
                self._failures.failed(error=type(error).__name__)
            else:
                self._failures.recovered()
            self._hurry.wait(WATCH_EVERY_S)
            self._hurry.clear()
