"""Backpressure: watches the broker's memory and says when no more work is to be taken in.

Guarantees that asking costs nothing: a thread of its own looks once a second, each look is
bounded in time, and every caller gets the last reading. /health asks for its looks here, so it
shows the reading by which this process refuses. A broker that does not answer is not an
overloaded one: what is accepted then waits in the database.
"""

from __future__ import annotations

import math
import threading
import time

from monitoring.health.broker_probe import BrokerProbe, BrokerReading
from monitoring.logs import get_logger
from resilience.background_thread import BackgroundThread

log = get_logger(__name__)

LOOK_EVERY_S = 1.0


class Pressure:
    """Watches one broker from one process. Make it after the fork: its connection is its own."""

    def __init__(self, probe: BrokerProbe) -> None:
        self._probe = probe
        self._thread = BackgroundThread(
            "pressure", self._run, log=log, not_started="pressure_not_watched"
        )
        self._looking = threading.Lock()
        self._looked_at_s = -math.inf
        self._reading: BrokerReading | None = None
        self._error: Exception | None = None

    def latest(self) -> tuple[bool, float | None]:
        """Return the last reading: whether it is overloaded, and the used share of its memory.

        The share is None while nobody knows it. Returns at once and never raises.
        """
        self._thread.ensure_running()
        reading = self._reading
        return (False, None) if reading is None else (reading.is_full, reading.memory_share)

    def is_overloaded(self) -> bool:
        """Say what was seen last. Returns at once and never raises; the first call starts it."""
        return self.latest()[0]

    def read_now(self) -> BrokerReading:
        """Look now, and go by that from now on. Threads that look at once share one look.

        Raises: what `BrokerProbe.read` raises.
        """
        came_at_s = time.monotonic()
        with self._looking:
            if self._looked_at_s <= came_at_s:  # nobody has looked while this one waited
                self._look_now()
            if self._reading is None:
                raise self._error or RuntimeError("a look ended with nothing")
            return self._reading

    def _run(self) -> None:
        while True:
            with self._looking:
                self._look_now()
            time.sleep(LOOK_EVERY_S)

    def _look_now(self) -> None:
        was_full = self._is_full()
        try:
            self._reading = self._probe.read(was_full=was_full)
        except Exception as error:  # noqa: BLE001 - anything a broker's client raises
            # /health and beat's watch tell operators that the broker is away.
            log.debug("pressure_unknown", error=type(error).__name__)
            self._reading, self._error = None, error
        self._looked_at_s = time.monotonic()
        if was_full != self._is_full():
            log.warning("broker_relieved" if was_full else "broker_overloaded")

    def _is_full(self) -> bool:
        reading = self._reading
        return reading is not None and reading.is_full
