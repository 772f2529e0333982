"""What happens when a worker process starts, and while it lives."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, bootsteps, signals
from redis import RedisError

from monitoring import heartbeats
from monitoring.logs import EventLogger, configure
from monitoring.server_checks import redis_client
from settings import Settings
from tasks.engine import forget_engine

HEARTBEAT_EVERY_S = 5.0

_CHATTY = ("celery.worker.strategy", "celery.app.trace", "celery.beat")
"""Loggers that tell of every task received, done or sent; Flower and the timeline show those."""

events = EventLogger(__name__)


def install(app: Celery) -> None:
    """Attach the hooks to the application's workers."""
    signals.worker_process_init.connect(_after_fork)
    signals.setup_logging.connect(_set_up_logging)
    app.steps["worker"].add(Heartbeat)


class Heartbeat(bootsteps.StartStopStep):
    """Tells the cache every few seconds, from the worker's event loop, that it still turns."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._cache = redis_client(Settings.from_environment().cache_url)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        name = parent.hostname
        self._beat(name)
        self._timer = parent.timer.call_repeatedly(HEARTBEAT_EVERY_S, self._beat, (name,))

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self, name: str) -> None:
        try:
            heartbeats.beat(self._cache, name)
        except RedisError as error:
            events.warning("heartbeat_not_sent", error=type(error).__name__)


def _after_fork(**_: object) -> None:
    forget_engine()


def _set_up_logging(**_: object) -> None:
    level = Settings.from_environment().log_level
    configure(level)
    if level != "DEBUG":
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
