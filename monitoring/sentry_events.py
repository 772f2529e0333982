"""What is told to Sentry: what is logged as an error, and nothing besides.

Guarantees that there is one way to call for a person, `log.error`, and that whoever uses it
need not know of Sentry; what libraries log as errors (a task that raised, a worker process that
died) comes the same way. What passes by itself is not told: an outage has its own alarms, and
would be told by every request and every task. One trouble that repeats is told a few times,
and then counted (`monitoring.budget`). What leaves in the end: `sentry_allowed`.

Imported only where there is a DSN.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import sentry_sdk
from sentry_sdk.utils import event_from_exception
from structlog.contextvars import get_contextvars

from ledger.errors import Disposition, disposition
from monitoring.budget import Budget
from monitoring.logs import own_fields
from monitoring.sentry_allowed import counts_of, tags_of

_OWN: Final = "sentry_sdk"
_TOLD: Final = "truepenny_told"

_budget = Budget()
_budget_of_strangers = Budget(burst_of_all=20, per_minute_of_all=10)
"""Apart: whoever reports errors of pages that never were must not use up what our own may tell."""


def listen() -> None:
    """Tell from now on what this process logs. A second call only forgets what was told."""
    global _budget  # noqa: PLW0603 - one per process; a parent's may be locked by a thread of it
    _budget = Budget()
    root = logging.getLogger()
    if not any(isinstance(handler, _Teller) for handler in root.handlers):
        root.addHandler(_Teller(logging.INFO))


def tell(event: dict[str, Any]) -> None:
    """Send what a stranger reported, unless enough was told of its like. Never waits.

    event: with a fingerprint.
    """
    dropped = _budget_of_strangers.spend(tuple(event["fingerprint"]))
    if dropped is not None:
        _send(event, dropped)


class _Teller(logging.Handler):
    """Reads what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of an error; remember anything else of ours, in case one follows."""
        try:
            if record.levelno >= logging.ERROR:
                _tell_of(record)
            elif (fields := own_fields(record)) is not None:
                sentry_sdk.add_breadcrumb(
                    category=record.name,
                    message=record.msg,
                    level=record.levelname.lower(),
                    data={**tags_of(fields), **counts_of(fields)},
                )
        except Exception:  # noqa: BLE001 - logging's way: said on standard error, raised to nobody
            self.handleError(record)


def _tell_of(record: logging.LogRecord) -> None:
    error = record.exc_info[1] if record.exc_info else None
    if record.name.startswith(_OWN) or (error and not _is_news(error)):
        return
    dropped = _budget.spend((record.name, _template(record), type(error)))
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


def _is_news(error: BaseException) -> bool:
    """Whether this error does not pass by itself, and was not told before on its way up."""
    if disposition(error) is Disposition.RETRY or vars(error).get(_TOLD):
        return False
    vars(error)[_TOLD] = True
    return True


def _template(record: logging.LogRecord) -> str:
    """What was logged, without what was put into it: of a finished text nobody knows what is."""
    is_template = own_fields(record) is not None or bool(record.args)
    return record.msg if is_template and isinstance(record.msg, str) else f"{record.name} failed"


def _send(event: dict[str, Any], dropped: int, hint: dict[str, Any] | None = None) -> None:
    if dropped:
        event["extra"] = {**event.get("extra", {}), "dropped_before": dropped}
    sentry_sdk.capture_event(event, hint)  # type: ignore[arg-type]  # the SDK's closed types
