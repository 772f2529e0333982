"""Sentry: errors, traces and check-ins of a process, if there is a DSN.

client          the SDK's client and its transport
capture         logged errors → events
allowlist       the parts of an event that may be sent
quota           limit of repeated events
tracing         one trace from a request through its chain
check_ins       results of scheduled tasks
browser_errors  reports of our pages

Guarantees that without a DSN the SDK is not imported and nothing is slower, and that a Sentry that
does not answer makes nothing fail, wait or grow: events wait in a bounded queue for a thread that
gives up soon.

The SDK's own integrations with Flask, Celery, SQLAlchemy and logging stay off. They collect
everything, and would have to be restricted; here only what this package builds is sent.
"""

from __future__ import annotations

import atexit
import os
from typing import Any

from monitoring.sentry import check_ins, tracing
from settings import Settings

_started_in: int | None = None
"""Id of the process that sends. A child must start again: threads do not survive a fork."""


def start(settings: Settings, *, program: str) -> bool:
    """Send the errors of this process. Call it after the fork and after the set-up of its logs.

    program: the name by which operators know this process.
    Returns: whether there is a DSN. A second call in one process changes nothing.
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
    """Send waiting events when the process ends, for a limited time. A second call is harmless."""
    if _started_in == os.getpid():
        from monitoring.sentry import client

        client.finish()


def send_browser_error(event: dict[str, Any]) -> None:
    """Send a report of a page, reduced by `allowlist`. Never waits."""
    if _started_in == os.getpid():
        from monitoring.sentry import capture

        capture.send_browser_error(event)
