"""What a process that has to do with tasks tells Sentry: errors, its share of traces, check-ins.

Guarantees that of a task's arguments nothing is told but an id, and that without a DSN no
signal is connected that a task or a message would pass.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import cache
from typing import Any, Final

from celery import signals, states

from beat.schedule import beat_schedule
from monitoring import check_ins, sentry, traces
from settings import Settings
from workers.task_logging import batch_id_of

IGNORED: Final = "IGNORED"
_STATUS: Final = {states.SUCCESS: "ok", IGNORED: "ok", states.RETRY: "aborted"}


def install() -> None:
    """Have each process begin once its logs are set up, which would take our handler away."""
    signals.celeryd_after_setup.connect(_begin_worker)
    signals.worker_process_init.connect(_begin_child)
    signals.worker_process_shutdown.connect(_finish)
    signals.beat_init.connect(_begin_beat)


def begin(settings: Settings, *, program: str) -> bool:
    """Tell from now on of this process. Returns: whether there is anybody to tell."""
    is_told = sentry.start(settings, program=program)
    if is_told:
        signals.before_task_publish.connect(_add_trace)
        signals.task_prerun.connect(_run.begin)
        signals.task_postrun.connect(_run.end)
    return is_told


def _begin_worker(**_: object) -> None:
    begin(Settings.from_environment(), program="worker")


def _begin_child(**_: object) -> None:
    begin(Settings.from_environment(), program="worker child")


def _begin_beat(**_: object) -> None:
    begin(Settings.from_environment(), program="beat")


def _finish(**_: object) -> None:
    # A child ends without what Python does at the end of a program.
    sentry.finish()


def _add_trace(headers: dict[str, Any], **_: object) -> None:
    """Have a message say in whose trace it is sent: what it brings about joins it."""
    headers.update(traces.current() or {})


class _Run:
    """The task that this process is at; it is never at two."""

    def __init__(self) -> None:
        self._began_at_s = 0.0
        self._open = ExitStack()
        self._transaction: Any = None

    def begin(self, task_id: str, task: Any, args: Any, **_: object) -> None:
        """Join the trace of the message that brought the task."""
        import sentry_sdk

        self._began_at_s = time.monotonic()
        check_ins.begin()
        self._open.close()  # of a task whose end nobody told us
        joined = traces.join(task.request.headers or {}, task.name, op="queue.process")
        self._transaction = self._open.enter_context(joined)
        scope = sentry_sdk.get_isolation_scope()
        tags = {"task": task.name, "batch_id": batch_id_of(args)}
        for name, value in tags.items():
            scope.set_tag(name, value)
            if self._transaction is None:  # a trace has a scope of its own, which ends with it
                self._open.callback(scope.remove_tag, name)
        if self._transaction is not None:
            route = (task.request.delivery_info or {}).get("routing_key")
            self._transaction.set_data("messaging.message.id", task_id)
            self._transaction.set_data("messaging.destination.name", route)
            self._transaction.set_data("messaging.message.retry.count", task.request.retries)

    def end(self, task: Any, state: str | None, **_: object) -> None:
        """Leave the trace, and check in where the task is one of beat's."""
        if self._transaction is not None:
            self._transaction.set_status(_STATUS.get(state or "", "internal_error"))
            self._transaction = None
        self._open.close()
        every_s = _schedule().get(task.name)
        if every_s is not None:
            check_ins.done(
                task.name,
                raised=state != states.SUCCESS,
                every_s=every_s,
                took_s=time.monotonic() - self._began_at_s,
            )


_run = _Run()


@cache
def _schedule() -> dict[str, float]:
    """How often beat sends each of its tasks."""
    entries = beat_schedule(Settings.from_environment()).values()
    return {entry["task"]: float(entry["schedule"]) for entry in entries}
