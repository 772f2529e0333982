"""Sentry hooks of the processes that run or send tasks: errors, traces and check-ins.

Guarantees that of a task's arguments only an id is sent, and that without a DSN no signal of
tasks or messages is connected.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from typing import Any, Final

from celery import signals, states

from beat.schedule import beat_schedule
from monitoring import sentry
from monitoring.sentry import check_ins, tracing
from settings import Settings
from workers.task_logging import batch_id_of

IGNORED: Final = "IGNORED"
_STATUS: Final = {states.SUCCESS: "ok", IGNORED: "ok", states.RETRY: "aborted"}


def install() -> None:
    """Start Sentry in each process, after its logs are set up, which removes other handlers."""
    for signal, program in (
        (signals.celeryd_after_setup, "worker"),
        (signals.worker_process_init, "worker child"),
        (signals.beat_init, "beat"),
    ):
        signal.connect(_starter(program), weak=False)
    signals.worker_process_shutdown.connect(_finish)


def start_sentry(settings: Settings, *, program: str) -> bool:
    """Report this process and its tasks from now on. Returns: whether Sentry is configured."""
    is_on = sentry.start(settings, program=program)
    if is_on:
        signals.before_task_publish.connect(_add_trace)
        signals.task_prerun.connect(_run.begin)
        signals.task_postrun.connect(_run.end)
    return is_on


def _starter(program: str) -> Callable[..., None]:
    """Return a handler for the signal at which this program starts."""

    def start(**_: object) -> None:
        start_sentry(Settings.from_environment(), program=program)

    return start


def _finish(**_: object) -> None:
    # A child ends without running Python's exit handlers.
    sentry.finish()


def _add_trace(headers: dict[str, Any], **_: object) -> None:
    """Add the current trace to a message, so that the task it starts joins the trace."""
    headers.update(tracing.current() or {})


class _Run:
    """The task that this process runs; it never runs two at once."""

    def __init__(self) -> None:
        self._began_at_s = 0.0
        self._open = ExitStack()
        self._transaction: Any = None

    def begin(self, task_id: str, task: Any, args: Any, **_: object) -> None:
        """Join the trace of the message that brought the task."""
        import sentry_sdk

        self._began_at_s = time.monotonic()
        check_ins.begin()
        self._open.close()  # of a task whose end was not signalled
        joined = tracing.join(task.request.headers or {}, task.name, op="queue.process")
        self._transaction = self._open.enter_context(joined)
        scope = sentry_sdk.get_isolation_scope()
        tags = {"task": task.name, "batch_id": batch_id_of(args)}
        for name, value in tags.items():
            scope.set_tag(name, value)
            if self._transaction is None:  # a trace has its own scope, which ends with it
                self._open.callback(scope.remove_tag, name)
        if self._transaction is not None:
            route = (task.request.delivery_info or {}).get("routing_key")
            self._transaction.set_data("messaging.message.id", task_id)
            self._transaction.set_data("messaging.destination.name", route)
            self._transaction.set_data("messaging.message.retry.count", task.request.retries)

    def end(self, task: Any, state: str | None, **_: object) -> None:
        """Leave the trace, and check in if the task is one that beat sends."""
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
    """Return how often beat sends each of its tasks, in seconds."""
    entries = beat_schedule(Settings.from_environment()).values()
    return {entry["task"]: float(entry["schedule"]) for entry in entries}
