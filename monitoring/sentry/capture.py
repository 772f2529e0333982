"""Capture: sends what is logged as an error to Sentry, and nothing else.

Guarantees that `log.error` is the one way to alert an operator, and that its callers need not
know Sentry. Errors that libraries log (a task that raised, a worker process that died) are sent
too. Errors that pass by themselves are not: an outage has its own alerts, and every request and
task would report it. A repeated error is sent a few times and then counted
(`monitoring.sentry.quota`). `monitoring.sentry.allowlist` decides which parts are sent.

Imported only if there is a DSN.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import sentry_sdk
from sentry_sdk.utils import event_from_exception
from structlog.contextvars import get_contextvars

from ledger.errors import Disposition, disposition
from monitoring.logs import own_fields
from monitoring.sentry.allowlist import counts_of, tags_of
from monitoring.sentry.quota import EventQuota

_SDK_LOGGER: Final = "sentry_sdk"
_SENT: Final = "truepenny_sent"

_quota = EventQuota()
_browser_quota = EventQuota(burst_of_all=20, per_minute_of_all=10)
"""Separate: anyone may send false browser reports, and must not use up the quota of our own."""


def listen() -> None:
    """Send logged errors from now on. A second call only resets the quota."""
    global _quota  # noqa: PLW0603 - a thread of the parent may hold its lock
    _quota = EventQuota()
    root = logging.getLogger()
    if not any(isinstance(handler, _SentryHandler) for handler in root.handlers):
        root.addHandler(_SentryHandler(logging.INFO))


def send_browser_error(event: dict[str, Any]) -> None:
    """Send the report of a browser unless its quota is used up. Never waits.

    event: with a fingerprint, which is the key of the quota.
    """
    dropped = _browser_quota.spend(tuple(event["fingerprint"]))
    if dropped is not None:
        _send(event, dropped)


class _SentryHandler(logging.Handler):
    """Sends errors, and keeps other events of ours as breadcrumbs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send an error; keep any other event of ours, for the next error."""
        try:
            if record.levelno >= logging.ERROR:
                _send_error(record)
            elif (fields := own_fields(record)) is not None:
                sentry_sdk.add_breadcrumb(
                    category=record.name,
                    message=record.msg,
                    level=record.levelname.lower(),
                    data={**tags_of(fields), **counts_of(fields)},
                )
        except Exception:  # noqa: BLE001 - logging prints it and never raises
            self.handleError(record)


def _send_error(record: logging.LogRecord) -> None:
    if record.name.startswith(_SDK_LOGGER):
        return
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        # An error that passes by itself, or that was logged before on its way up, is not sent.
        if disposition(error) is Disposition.RETRY or vars(error).get(_SENT):
            return
        vars(error)[_SENT] = True
    dropped = _quota.spend((record.name, _template(record), type(error)))
    if dropped is None:
        return
    fields = own_fields(record) or get_contextvars()
    event: dict[str, Any] = {}
    hint: dict[str, Any] = {}
    if error is not None:
        event, hint = event_from_exception(  # type: ignore[assignment]  # the SDK's closed types
            error,
            client_options=sentry_sdk.get_client().options,
            mechanism={"type": "logging", "handled": True},
        )
    event |= {
        "level": "fatal" if record.levelno >= logging.CRITICAL else "error",
        "logger": record.name,
        "logentry": {"message": _template(record)},
        "tags": tags_of(fields),
        "extra": counts_of(fields),
    }
    _send(event, dropped, hint)


def _template(record: logging.LogRecord) -> str:
    """Return the message without its arguments; a text without a template may contain anything."""
    is_template = own_fields(record) is not None or bool(record.args)
    return record.msg if is_template and isinstance(record.msg, str) else f"{record.name} failed"


def _send(event: dict[str, Any], dropped: int, hint: dict[str, Any] | None = None) -> None:
    if dropped:
        event["extra"] = {**event.get("extra", {}), "dropped_before": dropped}
    sentry_sdk.capture_event(event, hint)  # type: ignore[arg-type]  # the SDK's closed types
