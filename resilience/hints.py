"""Hints: tell other processes, over a channel of a Redis, that it is worth looking now.

A hint carries nothing, and it may be lost, doubled, late or forged: a process that gets one reads
the truth elsewhere, and also looks without one at times. Guarantees that neither sending nor
listening ever raises, that a server which is away or hangs delays a sender only for a moment, and
that no flood of hints takes up a listener.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

import redis

from resilience.background_thread import BackgroundThread
from resilience.cooldown import Cooldown
from resilience.event_log import EventLog
from resilience.outage_log import OutageLog
from resilience.redis_client import connect

SEND_TIMEOUT_S: Final = 0.1
PAUSE_AFTER_FAILURE_S: Final = 5.0
"""A server that hangs then costs a sender a fiftieth of its time."""
LISTEN_TIMEOUT_S: Final = 1.0
"""After so long without a hint the connection is tested, and given up if there is no answer."""
RECONNECT_EVERY_S: Final = 1.0
PAUSE_S: Final = 0.002
GATHERED: Final = 10
"""The function is called at most once in PAUSE_S, for up to so many more hints. What comes faster
waits on the server, which ends the connection when it is too much."""


class HintSender:
    """Sends hints. May be made before or after a fork; threads may share it."""

    def __init__(self, url: str, channel: str) -> None:
        self._client = connect(url, SEND_TIMEOUT_S)
        self._channel = channel
        self._cooldown = Cooldown(PAUSE_AFTER_FAILURE_S)

    def send(self) -> None:
        """Send a hint, unless the server failed a moment ago. Never raises."""
        if not self._cooldown.allows():
            return
        try:
            self._client.publish(self._channel, b"")
        except (redis.RedisError, OSError):
            self._cooldown.start()
        else:
            self._cooldown.end()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class HintListener:
    """Calls a function at each hint, from a thread of its own, over one connection."""

    def __init__(self, url: str, channel: str, heard: Callable[[], None], *, log: EventLog) -> None:
        """heard: called soon after a hint, and when listening begins. It must return at once."""
        self._client = connect(url, LISTEN_TIMEOUT_S)
        self._channel = channel
        self._heard = heard
        self._outage = OutageLog(
            log, "hints_not_heard", "hints_heard_again", level="info", recovered_level="info"
        )
        self._thread = BackgroundThread("hints", self._run, log=log)

    def start(self) -> None:
        """Listen from now on. Returns at once and never raises; a second call is harmless."""
        self._thread.ensure_running()

    def _run(self) -> None:
        while True:
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - whatever a stranger sends: it goes on
                self._outage.failed(error=type(error).__name__)
            time.sleep(RECONNECT_EVERY_S)

    def _listen(self) -> None:
        """Listen until the connection fails, or no longer answers."""
        with closing(self._client.pubsub()) as subscription:  # type: ignore[no-untyped-call]
            subscription.subscribe(self._channel)
            is_tested = False
            while True:
                message = subscription.get_message(timeout=LISTEN_TIMEOUT_S)
                if message is None:
                    if is_tested:
                        raise redis.TimeoutError
                    subscription.ping()
                    is_tested = True
                    continue
                is_tested = False
                if message["type"] == "pong":
                    continue
                self._outage.recovered()
                for _ in range(GATHERED):
                    if subscription.get_message(timeout=0) is None:
                        break
                self._heard()
                time.sleep(PAUSE_S)
