"""Backpressure: reads the broker's memory and says when to refuse new work.

Guarantees that asking costs nothing: a background thread takes a reading once a second, each
reading is bounded in time, and every caller gets the last one. /health takes its readings here,
so it shows the reading by which this process refuses. A broker that does not answer does not
count as overloaded: transfers that are accepted meanwhile wait in the database.
"""

from __future__ import annotations

import math
import threading
import time

from monitoring.health.broker_probe import BrokerProbe, BrokerReading
from monitoring.logs import get_logger
from resilience.background_thread import BackgroundThread

log = get_logger(__name__)

READ_EVERY_S = 1.0


class BackpressureGauge:
    """Reads one broker for one process. May be made before a fork, but not used."""

    def __init__(self, probe: BrokerProbe) -> None:
        self._probe = probe
        self._thread = BackgroundThread(
            "pressure", self._run, log=log, not_started="pressure_not_watched"
        )
        self._is_reading = threading.Lock()
        self._read_at_s = -math.inf
        self._reading: BrokerReading | None = None
        self._error: Exception | None = None

    def latest(self) -> tuple[bool, float | None]:
        """Return the last reading: whether the broker is overloaded, and its used memory share.

        The share is None while it is unknown. Returns at once and never raises. The first call
        starts the background thread.
        """
        self._thread.ensure_running()
        reading = self._reading
        return (False, None) if reading is None else (reading.is_full, reading.memory_share)

    def is_overloaded(self) -> bool:
        """Return whether the broker was full at the last reading; see `latest`."""
        return self.latest()[0]

    def read_now(self) -> BrokerReading:
        """Take a reading now, and go by it. Threads that call at the same time share one reading.

        Starts the watching thread: an old reading of /health must not refuse a request hours later.
        Raises: what `BrokerProbe.read` raises.
        """
        self._thread.ensure_running()
        called_at_s = time.monotonic()
        with self._is_reading:
            if self._read_at_s <= called_at_s:  # no other thread took one while this one waited
                self._read()
            if self._reading is None:
                raise self._error or RuntimeError("the reading has neither a result nor an error")
            return self._reading

    def _run(self) -> None:
        while True:
            with self._is_reading:
                self._read()
            time.sleep(READ_EVERY_S)

    def _read(self) -> None:
        was_full = self._is_full()
        try:
            self._reading = self._probe.read(was_full=was_full)
        except Exception as error:  # noqa: BLE001 - anything a broker's client raises
            # /health and the server watch report that the broker is away.
            log.debug("pressure_unknown", error=type(error).__name__)
            self._reading, self._error = None, error
        self._read_at_s = time.monotonic()
        if was_full != self._is_full():
            log.warning("broker_relieved" if was_full else "broker_overloaded")

    def _is_full(self) -> bool:
        reading = self._reading
        return reading is not None and reading.is_full
