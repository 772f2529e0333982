"""Kicks: hints that tell workers that transfers were accepted, sent outside the request.

Guarantees at most one kick in the queue at a time from each process: a waiting kick will claim
everything that is accepted before it runs, so a second one would add nothing. Under load the
batches grow by themselves, like a group commit. On an idle system a kick is sent without asking
the broker, which was asked while nobody waited for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from celery import Celery

from monitoring.logs import get_logger
from monitoring.sentry import tracing
from resilience.background_thread import BackgroundThread
from resilience.outage_log import OutageLog
from tasks import chain
from tasks.broker import queues

log = get_logger(__name__)

PAUSE_SHARE = 9
MAX_PAUSE_S = 0.1
LOOK_AFTER_S = 0.02
"""When no kick has been wanted for so long, the broker is asked whether the last one was taken."""
MAX_PAUSE_AFTER_FAILURE_S = 2.0


class Kicker:
    """Publishes kicks from a background thread. It can be made before or after a fork.

    A kick may be lost with the broker or with this process. The recovery scan then finds the
    accepted transfers.
    """

    def __init__(self, app: Celery, publish: Callable[[Celery], None] | None = None) -> None:
        """publish: sends another hint instead of the kick for new transfers."""
        self._app = app
        self._publish = publish or kick_unless_one_waits
        self._looks_ahead = publish is None
        self._has_looked = True
        self._none_waits = False
        """Whether no kick waits, as seen since this process has sent its last one."""
        self._wanted = threading.Event()
        self._thread = BackgroundThread("kicker", self._run, log=log)
        self._outage = OutageLog(log, "kick_failed", repeats=True, count_as="failures")
        self._trace: dict[str, str] | None = None

    def kick(self) -> None:
        """Ask for a kick, after the commit. Returns at once and never raises.

        If the thread cannot start, the kick is lost unless another follows. When several
        requests share one kick, it joins the trace of the last traced one.
        """
        self._trace = tracing.current() or self._trace
        self._wanted.set()
        self._thread.ensure_running()

    def _run(self) -> None:
        while True:
            if not self._wanted.wait(None if self._has_looked else LOOK_AFTER_S):
                self._look()
                continue
            self._wanted.clear()
            started_s = time.monotonic()
            # Cleared even if it is not used: the next kick belongs to other requests.
            trace, self._trace = self._trace, None
            try:
                with tracing.carry(trace):
                    publish = _kick if self._none_waits else self._publish
                    self._has_looked, self._none_waits = not self._looks_ahead, False
                    publish(self._app)
            except Exception as error:  # noqa: BLE001 - any error of a broker's client
                self._outage.failed(error=type(error).__name__)
                self._wanted.set()  # try again
                doubled = 2.0 ** min(self._outage.failures, 10)
                time.sleep(min(0.1 * doubled, MAX_PAUSE_AFTER_FAILURE_S))
            else:
                self._outage.recovered()
                # The pause bounds the share of time that a busy process spends on kicks.
                # Requests that come during it share the next kick.
                time.sleep(min(PAUSE_SHARE * (time.monotonic() - started_s), MAX_PAUSE_S))

    def _look(self) -> None:
        """Ask whether a kick waits: if not, the next one is sent without asking."""
        self._has_looked = True
        with suppress(Exception):  # any error of a broker's client: the next kick meets it, too
            self._none_waits = not queues.count_waiting(self._app, queues.RESERVE)


def _kick(_: Celery) -> None:
    chain.kick()


def kick_unless_one_waits(app: Celery) -> None:
    """Publish a kick if none waits. Raises: any error of the broker's client."""
    if not queues.count_waiting(app, queues.RESERVE):
        chain.kick()
