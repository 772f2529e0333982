"""Structured logs: one JSON object per line on standard error.

Guarantees that an event's name is static, so that it can be searched and counted, and
that what varies stands in fields. Whoever logs keeps API keys and amounts out of them.
The standard library is enough: gunicorn, Celery and SQLAlchemy all log through it, and
one formatter on the root logger puts their lines into the same shape.
"""

from __future__ import annotations

import json
import logging
import logging.config
from datetime import UTC, datetime
from typing import Any

_FIELDS = "truepenny_fields"
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


class EventLogger:
    """Logs events: a static name, and fields for everything that varies."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        """Log a detail that is off by default."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Log something that happened as it should."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log something that heals by itself but should be known."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, error: BaseException | None = None, **fields: object) -> None:
        """Log something that a person should look at, with the error's traceback if given."""
        self._log(logging.ERROR, event, fields, error)

    def _log(
        self,
        level: int,
        event: str,
        fields: dict[str, object],
        error: BaseException | None = None,
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={_FIELDS: fields}, exc_info=error)


class JsonFormatter(logging.Formatter):
    """Prints a record, ours or a library's, as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its newline."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "event": record.getMessage(),
        }
        line |= _fields(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def own_fields(record: logging.LogRecord) -> dict[str, Any] | None:
    """Return the fields of a record that an EventLogger made; None for a library's."""
    fields: dict[str, Any] | None = vars(record).get(_FIELDS)
    return fields


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what an EventLogger was given, and what others passed as `extra`."""
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    ours: dict[str, Any] = fields.pop(_FIELDS, {})
    return fields | ours


def logging_config(level: str) -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`, or gunicorn's own setting."""
    # gunicorn gives its loggers handlers and no propagation unless told otherwise.
    gunicorn = {"handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {"gunicorn.error": gunicorn},
    }


def configure(level: str) -> None:
    """Send this process's logs to standard error. A second call changes only the level."""
    logging.config.dictConfig(logging_config(level))
