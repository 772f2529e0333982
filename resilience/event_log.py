"""Interface of the loggers that mechanisms are given: a static event name, and fields."""

from __future__ import annotations

from typing import Literal, Protocol

Level = Literal["info", "warning"]


class EventLog(Protocol):
    """Logs events by name. `monitoring.logs` makes them, and so does structlog."""

    def info(self, event: str, **fields: object) -> object:
        """Log something that happened as it should."""

    def warning(self, event: str, **fields: object) -> object:
        """Log something that heals by itself but should be known."""
