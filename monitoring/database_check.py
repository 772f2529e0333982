"""The check of the database, which can be given up.

Guarantees that a check never waits for ever: a server that is frozen keeps its connections
open and answers nothing, and its machine goes on acknowledging, so no time-out of TCP ends a
question that was asked already. Whoever has waited long enough hangs up instead.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress

from sqlalchemy import Connection, Engine, text

from ledger.database import autocommit
from monitoring.health import Component


class DatabaseCheck:
    """Asks the database for nothing, and learns that it answers.

    Keeps its one connection between checks. Connecting is bounded by the engine's own
    time-out; what comes after, by `give_up`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._line: socket.socket | None = None

    def __call__(self) -> Component:
        with autocommit(self._engine) as connection:
            self._note(_line_of(connection))
            try:
                connection.execute(text("SELECT 1"))
            finally:
                self._note(None)
        return Component("ok", "answers")

    def give_up(self) -> None:
        """Hang up on a question under way, from another thread: it then fails by itself."""
        with self._lock:
            if self._line is not None:
                with suppress(OSError):  # it may have been cut already
                    self._line.shutdown(socket.SHUT_RDWR)

    def _note(self, line: socket.socket | None) -> None:
        with self._lock:
            if self._line is not None:
                self._line.close()
            self._line = line


def _line_of(connection: Connection) -> socket.socket:
    """Return the connection's socket under a number of its own, which nobody else closes."""
    driver = connection.connection.dbapi_connection
    if driver is None:
        raise ConnectionError("the connection was closed before it was used")
    return socket.socket(fileno=os.dup(driver.fileno()))
