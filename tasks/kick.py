"""Telling the workers that something was accepted, without making a request wait for it.

Guarantees at most one kick in the queue at a time from each process: a kick that waits
there will claim everything accepted before it runs, so a second one would say nothing new.
Under load the batches grow by themselves, like a group commit; an idle system answers at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from celery import Celery

from monitoring import traces
from monitoring.logs import get_logger
from resilience.background_thread import BackgroundThread
from resilience.outage_log import OutageLog
from tasks import chain, queues

log = get_logger(__name__)

PAUSE_SHARE = 9
MAX_PAUSE_S = 0.1
MAX_PAUSE_AFTER_FAILURE_S = 2.0


class Kicker:
    """Publishes kicks from a thread of its own. Make it before or after a fork, either works.

    The kick is a hint. When it is lost, with the broker or with this process, the recovery
    scan finds what was accepted.
    """

    def __init__(self, app: Celery, publish: Callable[[Celery], None] | None = None) -> None:
        """Take what to publish instead, where it is another hint than that of new transfers."""
        self._app = app
        self._publish = publish or kick_unless_one_waits
        self._wanted = threading.Event()
        self._thread = BackgroundThread("kicker", self._run, log=log)
        self._outage = OutageLog(log, "kick_failed", repeats=True, count_as="failures")
        self._trace: dict[str, str] | None = None

    def kick(self) -> None:
        """Ask for a kick, after the commit. Returns at once and never raises.

        Without a thread to publish it the kick is lost, unless another follows.
        Of those who ask for the same kick, one whose request is traced has it in its trace.
        """
        self._trace = traces.current() or self._trace
        self._wanted.set()
        self._thread.ensure_running()

    def _run(self) -> None:
        while self._wanted.wait():
            self._wanted.clear()
            started_s = time.monotonic()
            # Whether it is used or not: the next kick is not its doing.
            trace, self._trace = self._trace, None
            try:
                with traces.carry(trace):
                    self._publish(self._app)
            except Exception as error:  # noqa: BLE001 - whatever a broker's client raises
                self._outage.failed(error=type(error).__name__)
                self._wanted.set()  # it is still wanted
                doubled = 2.0 ** min(self._outage.failures, 10)
                time.sleep(min(0.1 * doubled, MAX_PAUSE_AFTER_FAILURE_S))
            else:
                self._outage.recovered()
                # A busy process spends a bounded share of its time on kicking, and the
                # requests that come during the pause share the next kick.
                time.sleep(min(PAUSE_SHARE * (time.monotonic() - started_s), MAX_PAUSE_S))


def kick_unless_one_waits(app: Celery) -> None:
    """Publish a kick. Raises: whatever the broker's client raises."""
    if not queues.count_waiting(app, queues.RESERVE):
        chain.kick()
