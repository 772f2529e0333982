"""Sentry client of a process: sends events from a bounded queue, and gives up soon.

Imported only if there is a DSN.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import sentry_sdk
from sentry_sdk.transport import HttpTransport
from sentry_sdk.utils import get_default_release

from monitoring.logs import get_logger
from monitoring.sentry.allowlist import allowed_event, allowed_transaction
from resilience.outage_log import OutageLog
from settings import Settings

SHUTDOWN_S: Final = 2.0
"""How long a process that ends waits for events that are still to be sent."""
QUEUE_SIZE: Final = 100
MAX_BREADCRUMBS: Final = 20

log = get_logger(__name__)


class BriefTransport(HttpTransport):
    """Gives up soon, never retries, and logs an outage of Sentry as one event."""

    TIMEOUT = 5

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._outage = OutageLog(
            log,
            "sentry_not_told",
            "sentry_told_again",
            repeats=True,
            count_as="times",
            recovered_level="info",
        )

    def _get_pool_options(self) -> dict[str, Any]:
        # By default urllib3 tries four times, and logs each attempt.
        return {**super()._get_pool_options(), "retries": False}

    def on_dropped_event(self, reason: str) -> None:
        # Called for each lost event: network error, an answer other than 200, or a full queue.
        self._outage.failed(reason=reason)

    def _handle_response(self, response: Any, envelope: Any) -> None:
        super()._handle_response(response, envelope)
        if response.status == 200:
            self._outage.recovered()


def start(settings: Settings, dsn: str, *, program: str) -> None:
    """Create the client of this process; it replaces one that was inherited from a parent."""
    sentry_sdk.init(
        dsn=dsn,
        environment=settings.sentry_environment,
        release=settings.sentry_release or _commit(),
        transport=BriefTransport,
        transport_queue_size=QUEUE_SIZE,
        shutdown_timeout=SHUTDOWN_S,
        max_breadcrumbs=MAX_BREADCRUMBS,
        traces_sample_rate=settings.sentry_traces_sample_rate,
        before_send=allowed_event,  # type: ignore[arg-type]  # the SDK's types are closed
        before_send_transaction=allowed_transaction,  # type: ignore[arg-type]
        default_integrations=False,
        auto_enabling_integrations=False,
        auto_session_tracking=False,
        enable_backpressure_handling=False,  # needs another thread, and the queue is bounded anyway
        include_local_variables=False,
        max_request_body_size="never",
        project_root=str(Path.cwd()),
        spotlight=False,
    )
    sentry_sdk.get_global_scope().set_tag("program", program)


def finish() -> None:
    """Send waiting events, for SHUTDOWN_S at most."""
    sentry_sdk.get_client().close(timeout=SHUTDOWN_S)


@cache
def _commit() -> str:
    """Return the commit of this checkout, or ""; determined once."""
    return get_default_release() or ""
