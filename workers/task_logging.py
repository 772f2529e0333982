"""Binds the ids of a task to every line that is logged while it runs.

Guarantees that they are unbound when the task has ended, however it ended.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import signals
from structlog.contextvars import bind_contextvars, clear_contextvars


def install() -> None:
    """Bind the ids in every process of this application that runs tasks."""
    signals.task_prerun.connect(_bind)
    signals.task_postrun.connect(_unbind)


def batch_id_of(args: Any) -> str | None:
    """Return the first argument if it is an id, as in every task that moves money."""
    try:
        return str(UUID(args[0]))
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _bind(task_id: str, task: Any, args: Any, **_: object) -> None:
    clear_contextvars()  # in case the end of the last task was not signalled
    bind_contextvars(task=task.name, task_id=task_id)
    if batch_id := batch_id_of(args):
        bind_contextvars(batch_id=batch_id)


def _unbind(**_: object) -> None:
    clear_contextvars()
