"""The database as the API uses it: not asked at all while it is known to be away.

Guarantees that, once the circuit breaker is open, whatever needs the database fails at once
instead of waiting for a time-out in every thread of the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Connection, Engine

from ledger.errors import Unreachable
from ledger.postgres import database
from monitoring.health.database_breaker import DatabaseBreaker

STATEMENT_TIMEOUT_S = 4.0
"""Requests are short; what takes longer has met a server that is in trouble."""


class Database:
    """The pool of this process, behind the circuit breaker."""

    def __init__(self, engine: Engine, watch: DatabaseBreaker) -> None:
        self._engine = engine
        self._watch = watch

    def is_up(self) -> bool:
        """Whether it is worth asking."""
        return self._watch.is_up()

    @property
    def breaker_state(self) -> str:
        """Whether it is asked: closed (it is), open, or half-open while a probe tries."""
        return self._watch.state

    def transaction(self) -> AbstractContextManager[Connection]:
        """Run a transaction as the ledger does. Raises: Unreachable: at once when it is away."""
        return self._guarded(database.transaction(self._engine))

    def autocommit(self) -> AbstractContextManager[Connection]:
        """A connection for single statements, as `ledger.postgres.database.autocommit`.

        Raises: Unreachable: at once, when the database is known to be away.
        """
        return self._guarded(database.autocommit(self._engine))

    @contextmanager
    def _guarded(self, opened: AbstractContextManager[Connection]) -> Iterator[Connection]:
        if not self._watch.is_up():
            raise Unreachable
        try:
            with opened as connection:
                yield connection
        except Unreachable:
            self._watch.suspect()
            raise
