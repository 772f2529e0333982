"""The broker's memory: whether it is so full that no more work should be taken in.

Guarantees that asking costs nothing: a thread of its own looks once a second, each look is
bounded in time, and whoever asks gets what was seen last. A broker that does not answer is
not an overloaded one: what is accepted then waits in the database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import amqp
import redis
from kombu import Connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from monitoring.logs import get_logger

log = get_logger(__name__)

FULL_SHARE = 0.85
"""From this share of its memory on the broker is overloaded, before it has to refuse anything."""
RELIEVED_SHARE = 0.80
"""Below this share it no longer is. The gap keeps it from changing with every message."""
LOOK_EVERY_S = 1.0
TIMEOUT_S = 0.8
_HEARTBEAT_S = 5

Look = Callable[[], float | None]
"""Returns: the used share of the memory, None when there is no limit. Raises when it is away."""


class Pressure:
    """Watches one broker from one process. Make it before or after a fork, either works."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._overloaded = False
        self._share: float | None = None

    def seen(self) -> tuple[bool, float | None]:
        """Say what was seen last: whether it is overloaded, and the used share of its memory.

        The share is None while nobody knows it. Returns at once and never raises.
        """
        return self.is_overloaded(), self._share

    def is_overloaded(self) -> bool:
        """Say what was seen last. Returns at once and never raises; the first call starts it."""
        if self._thread is None or not self._thread.is_alive():
            self._start()
        return self._overloaded

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="pressure", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:  # no room for one more: the next who asks tries
                    log.warning("pressure_not_watched", error=type(error).__name__)

    def _run(self) -> None:
        while True:
            before, self._overloaded = self._overloaded, self._is_overloaded_now()
            if before != self._overloaded:
                log.warning("broker_overloaded" if self._overloaded else "broker_relieved")
            time.sleep(LOOK_EVERY_S)

    def _is_overloaded_now(self) -> bool:
        try:
            share = self._look()
        except Exception as error:  # noqa: BLE001 - whatever a broker's client raises
            # Others tell that the broker is away, and to the operators too.
            log.debug("pressure_unknown", error=type(error).__name__)
            share = None
        self._share = share
        return decide(share, before=self._overloaded)


def decide(share: float | None, *, before: bool) -> bool:
    """Whether a broker with this share of its memory in use is overloaded.

    share: None when nobody knows. before: whether it was overloaded until now.
    """
    if share is None:
        return False
    return share >= (RELIEVED_SHARE if before else FULL_SHARE)


def look_at(broker_url: str) -> Look:
    """How to look at this broker. Connects when it looks for the first time."""
    return _Rabbit(broker_url).look if broker_url.startswith("amqp") else _redis_look(broker_url)


def _redis_look(url: str) -> Look:
    client = redis.Redis.from_url(
        url,
        socket_connect_timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        max_connections=1,
        retry=Retry(NoBackoff(), 0),  # the next look is the retry
    )

    def look() -> float | None:
        memory = client.info("memory")
        limit = int(memory["maxmemory"])
        return int(memory["used_memory"]) / limit if limit else None

    return look


class _Rabbit:
    """Learns of a RabbitMQ's alarm as every publisher does: it is told, and nothing goes through.

    RabbitMQ tells its clients no figures, but it raises the alarm far below the machine's
    memory, where its operator says, and tells whoever publishes then. So a message is
    published that no queue receives: the broker confirms it and forgets it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._channel: Any = None
        self._blocked = False

    def look(self) -> float:
        """Return 1 while the alarm lasts, and otherwise 0."""
        try:
            if self._blocked:
                self._listen()
            else:
                self._publish()
        except TimeoutError:
            # When the alarm was announced, silence is what it means. If not, the broker hangs.
            if not self._blocked:
                self._forget()
                raise
        except Exception:
            self._forget()
            raise
        return float(self._blocked)

    def _publish(self) -> None:
        if self._channel is None:
            self._channel = self._connect()
        message = amqp.Message(b"", delivery_mode=1)
        self._channel.basic_publish(message, exchange="", routing_key="truepenny.pressure")

    def _listen(self) -> None:
        """Wait for the end of the alarm. Until then the broker reads nothing that we send."""
        self._channel.connection.heartbeat_tick()  # raises when the broker's own are missing
        while self._blocked:
            self._channel.connection.drain_events(timeout=TIMEOUT_S)

    def _connect(self) -> Any:
        connection = Connection(
            self._url,
            connect_timeout=TIMEOUT_S,
            heartbeat=_HEARTBEAT_S,
            transport_options={
                "confirm_publish": True,
                "read_timeout": TIMEOUT_S,
                "write_timeout": TIMEOUT_S,
                "on_blocked": self._on_blocked,
                "on_unblocked": self._on_unblocked,
            },
        )
        connection.ensure_connection(max_retries=0)
        return connection.channel()

    def _forget(self) -> None:
        channel, self._channel, self._blocked = self._channel, None, False
        if channel is not None and channel.connection is not None:
            channel.connection.collect()  # at once: to close it in order is to wait for an answer

    def _on_blocked(self, _reason: str) -> None:
        self._blocked = True

    def _on_unblocked(self) -> None:
        self._blocked = False
