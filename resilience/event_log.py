"""Logger interface of the mechanisms in this package: a static event name, and fields."""

from __future__ import annotations

from typing import Literal, Protocol

Level = Literal["info", "warning"]


class EventLog(Protocol):
    """Logs events by name. The loggers of `monitoring.logs` and of structlog fit."""

    def info(self, event: str, **fields: object) -> object:
        """Log something that happened as it should."""

    def warning(self, event: str, **fields: object) -> object:
        """Log something that recovers on its own but should be known."""
