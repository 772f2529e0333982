"""The hooks of a worker process: heartbeats, metrics, logs, and its own steps of Celery's start."""

from __future__ import annotations

import gc
import logging
from typing import Any

from celery import Celery, bootsteps, signals

from ledger.errors import Misconfigured, Refused
from ledger.postgres.installation import refuse_other_installation
from monitoring.database_start import check_database
from monitoring.heartbeats import heartbeat_files
from monitoring.heartbeats.emitter import HeartbeatEmitter
from monitoring.logs import configure
from monitoring.metrics import catalogue, port
from settings import Settings, SettingsError
from tasks import in_place
from tasks.engine import forget_engine
from workers import sentry_hooks, task_logging
from workers.consumer_watchdog import ConsumerWatchdog
from workers.pause_consumption import PauseWithoutDatabase

BEAT_EVERY_S = 1.0

_CHATTY = ("celery.worker.strategy", "celery.app.trace", "celery.beat")
"""Loggers with a line for every task received, done or sent; Flower and timelines show those."""
_NEEDLESS_WARNINGS = ("celery.app.base", "celery.worker.consumer.consumer")
"""The first warns at each retry with quorum queues that the retry waits in the worker, as it
should; the second at each attempt to reach the broker, which `workers.consumer` logs itself."""


def install(app: Celery) -> None:
    """Attach the hooks to the application's workers."""
    signals.celeryd_init.connect(_start_metrics)
    signals.celeryd_after_setup.connect(_check_database)
    signals.worker_before_create_process.connect(_before_fork)
    signals.worker_process_init.connect(lambda **_: _after_fork(app), weak=False)
    signals.worker_shutting_down.connect(_note_ending)
    signals.setup_logging.connect(_set_up_logging)
    task_logging.install()
    sentry_hooks.install()
    app.steps["worker"].add(Heartbeat)
    app.steps["worker"].add(PauseWithoutDatabase)
    app.steps["consumer"].add(ConsumerWatchdog)


class Heartbeat(bootsteps.StartStopStep):
    """Sends the worker's heartbeats from its event loop.

    While the consumer blocks the loop to reconnect, it sends them (`workers.consumer`).
    """

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        parent.heartbeat = HeartbeatEmitter.of(parent.hostname, Settings.from_environment())
        parent.heartbeat.beat()
        self._timer = parent.timer.call_repeatedly(BEAT_EVERY_S, parent.heartbeat.beat)

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        if self._timer is not None:
            self._timer.cancel()


def _check_database(sender: str, **_: object) -> None:
    """Check the database, in the main process, after its logs are set up and before it forks."""
    settings = Settings.from_environment()
    try:
        refuse_other_installation(settings.database_url, settings.installation_id)
        check_database(settings)
    except (SettingsError, Misconfigured, Refused) as error:
        raise SystemExit(f"{sender.partition('@')[0]}: {error}") from None


def _start_metrics(sender: str, **_: object) -> None:
    """Start the metrics, in the main process, before it forks its first child."""
    settings = Settings.from_environment()
    program = sender.partition("@")[0]
    catalogue.begin(program, settings.data_dir, catalogue.OF_WORKERS)
    if settings.metrics_port is not None:
        port.serve(catalogue.folder_of(settings.data_dir) / program, settings.metrics_port)


def _note_ending(sender: str, **_: object) -> None:
    """Record that the worker ends: its heartbeats stop before its last task does."""
    folder = heartbeat_files.folder(Settings.from_environment().data_dir)
    heartbeat_files.note_ending(folder, sender.partition("@")[0])


def _before_fork(**_: object) -> None:
    """Keep the garbage collector of the child away from memory that it shares with its parent.

    It writes into every object that it looks at, and the child would get a copy of its own.
    """
    gc.collect()
    gc.freeze()


def _after_fork(app: Celery) -> None:
    forget_engine()
    in_place.install(app)


def _set_up_logging(**_: object) -> None:
    level = Settings.from_environment().log_level
    configure(level)
    if level != "DEBUG":
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
        for name in _NEEDLESS_WARNINGS:
            logging.getLogger(name).setLevel(logging.ERROR)
