"""Structured logs on standard error: one JSON object a line, or readable text on a terminal.

Guarantees that an event's name is static, so that it can be searched and counted, and that
varying data is in fields. Ids bound with structlog's context variables (of a request, of a task)
are on every line of that thread, also on those of libraries. The caller must not log API keys or
amounts. A record has the event's name as its message, for other readers of the standard
library's records (`monitoring.sentry.capture`, tests).
"""

from __future__ import annotations

import logging
import logging.config
import sys
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from structlog.contextvars import get_contextvars, merge_contextvars
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

_FIELDS: Final = "truepenny_fields"
_STANDARD: Final = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
_OWN_NAMES: Final = frozenset({"at", "level", "logger", "process", "event", "exception"})


class EventLogger(structlog.BoundLoggerBase):
    """Logs events: a static name, and fields for everything that varies."""

    _logger: logging.Logger

    def debug(self, event: str, **fields: object) -> None:
        """Log a detail that is off by default."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Log something that happened as it should."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log something that recovers on its own but should be known."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, *, exc_info: BaseException | None = None, **fields: object) -> None:
        """Log something that an operator must look at, with the traceback of `exc_info`."""
        self._log(logging.ERROR, event, fields, exc_info)

    def _log(
        self,
        level: int,
        event: str,
        fields: dict[str, object],
        error: BaseException | None = None,
    ) -> None:
        # Before any processor, so that a disabled level costs almost nothing.
        if self._logger.isEnabledFor(level):
            names, options = self._process_event("", event, fields)
            self._logger.log(level, *names, exc_info=error, **options)


def get_logger(name: str) -> EventLogger:
    """Return the logger of a module, to be called `log`. It needs no set-up before."""
    logger: EventLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[merge_contextvars, _as_record],
        wrapper_class=EventLogger,
        context_class=dict,
    ).bind()
    return logger


def own_fields(record: logging.LogRecord) -> dict[str, Any] | None:
    """Return the fields of a record that an EventLogger made; None for a library's."""
    fields: dict[str, Any] | None = vars(record).get(_FIELDS)
    return fields


def formatter(*, terminal: bool) -> ProcessorFormatter:
    """Return the formatter of all records: text for a terminal, else JSON."""
    rendering: list[Processor] = (
        [printable, terminal_renderer(colors=True)]
        if terminal
        else [structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]
    )
    return ProcessorFormatter(
        processors=[_as_line, structlog.processors.format_exc_info, *rendering]
    )


def terminal_renderer(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    """Return the renderer that turns the members of a line into readable text."""
    return structlog.dev.ConsoleRenderer(
        colors=colors, timestamp_key="at", sort_keys=False, pad_event_to=0
    )


def printable(_logger: object, _method: str, event_dict: EventDict) -> EventDict:
    """Escape control characters, which could control a terminal: parts of a text are from outside.

    A processor of structlog. Line breaks stay.
    """
    return {
        name: _escaped(value) if isinstance(value, str) else value
        for name, value in event_dict.items()
    }


def logging_config(level: str) -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`, or gunicorn's own setting."""
    # By default gunicorn gives its loggers handlers and no propagation.
    gunicorn = {"handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter, "terminal": sys.stderr.isatty()}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {"gunicorn.error": gunicorn},
    }


def configure(level: str) -> None:
    """Send this process's logs to standard error. A second call changes only the level."""
    logging.config.dictConfig(logging_config(level))


def _as_record(
    _logger: logging.Logger, _method: str, event_dict: EventDict
) -> tuple[tuple[str], dict[str, Any]]:
    """Pass an event to the standard library: its name as the message, its fields as `extra`."""
    return (event_dict.pop("event"),), {"extra": {_FIELDS: event_dict}}


def _as_line(_logger: object, _method: str, event_dict: EventDict) -> EventDict:
    """Add the members that every line has. A field with the same name gets a `_` at its end."""
    record: logging.LogRecord = event_dict["_record"]
    line: dict[str, Any] = {
        "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "process": record.process,
        "event": event_dict["event"],
    }
    for name, value in _fields(record).items():
        line[f"{name}_" if name in _OWN_NAMES else name] = value
    if "exc_info" in event_dict:
        line["exc_info"] = event_dict["exc_info"]
    return line


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of an event; for a library's record, the bound ids and its `extra`."""
    ours = own_fields(record)
    if ours is not None:
        return ours
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    return get_contextvars() | extra


def _escaped(text: str) -> str:
    return "".join(
        each if each.isprintable() or each in "\n\t" else repr(each)[1:-1] for each in text
    )
