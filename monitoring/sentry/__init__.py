"""Sentry, for whoever starts a process: on with a DSN, and without one as if it were not there.

Guarantees that without a DSN nothing of it is imported and nothing is slower, and that with one
that is dead nothing fails, waits or grows: what is told waits in a bounded queue for a thread
that gives up soon. What is told, and what never is: `sentry_events` and `sentry_allowed`.

Its own hooks into Flask, Celery, SQLAlchemy and logging stay off. They see everything, and would
have to be kept from telling it; here only what this package composes is told.
"""

from __future__ import annotations

import atexit
import os
from typing import Any

from monitoring.sentry import check_ins, tracing
from settings import Settings

_started_in: int | None = None
"""The process that tells; a child of it has to start anew, for threads do not outlive a fork."""


def start(settings: Settings, *, program: str) -> bool:
    """Tell Sentry what goes wrong in this process: after its fork, and after its logs are set up.

    program: what this process is to an operator.
    Returns: whether there is anybody to tell. A second call in one process changes nothing.
    """
    global _started_in  # noqa: PLW0603 - one per process, like the SDK's own client
    if settings.sentry_dsn is None:
        return False
    if _started_in == os.getpid():
        return True
    from monitoring.sentry import capture, client

    client.start(settings, settings.sentry_dsn, program=program)
    capture.listen()
    tracing.enable(settings.sentry_traces_sample_rate)
    check_ins.enable()
    if _started_in is None:
        atexit.register(finish)
    _started_in = os.getpid()
    return True


def finish() -> None:
    """Send what waits, for a bounded time, when the process ends. Harmless to repeat."""
    if _started_in == os.getpid():
        from monitoring.sentry import client

        client.finish()


def tell(event: dict[str, Any]) -> None:
    """Send what a page reported, of which `sentry_allowed` lets little pass. Never waits."""
    if _started_in == os.getpid():
        from monitoring.sentry import capture

        capture.tell(event)
