"""Database of the API: a connection pool behind the circuit breaker.

Guarantees that, once the breaker is open, every use of the database fails at once, instead of
waiting for a time-out in every thread of the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Connection, Engine

from api.database_clock import DatabaseClock
from ledger.errors import Unreachable
from ledger.postgres import database
from monitoring.health.database_breaker import DatabaseBreaker

STATEMENT_TIMEOUT_S = 4.0
"""Requests need milliseconds; a statement that takes longer has met a server in trouble."""


class Database:
    """The pool of this process, behind the circuit breaker."""

    def __init__(self, engine: Engine, breaker: DatabaseBreaker) -> None:
        self._engine = engine
        self._breaker = breaker
        self.clock = DatabaseClock()
        """The database's time, also while it is away."""

    def is_up(self) -> bool:
        """Tell whether the breaker lets requests use the database."""
        return self._breaker.is_up()

    @property
    def breaker_state(self) -> str:
        """The breaker's state: closed (the database is used), open, or half-open (a probe runs)."""
        return self._breaker.state

    def transaction(self) -> AbstractContextManager[Connection]:
        """Open a transaction, as `ledger.postgres.database.transaction`.

        Raises: Unreachable: at once, when the database is known to be away.
        """
        return self._guarded(database.transaction(self._engine))

    def autocommit(self) -> AbstractContextManager[Connection]:
        """Open a connection for single statements, as `ledger.postgres.database.autocommit`.

        Raises: Unreachable: at once, when the database is known to be away.
        """
        return self._guarded(database.autocommit(self._engine))

    @contextmanager
    def _guarded(self, opened: AbstractContextManager[Connection]) -> Iterator[Connection]:
        if not self._breaker.is_up():
            raise Unreachable
        try:
            with opened as connection:
                yield connection
        except Unreachable:
            self._breaker.suspect()
            raise
