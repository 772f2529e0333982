"""SQLAlchemy's dialect for our sessions, which begin their transactions themselves."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

NAME = "postgresql+session"


class SessionDialect(PGDialect_psycopg2):
    """The dialect of psycopg2, where `ledger.postgres.session.Session` sends BEGIN and COMMIT."""

    supports_statement_cache = True

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin with the next statement. psycopg2 would send BEGIN by itself, and wait for it."""
        dbapi_connection.begin()


registry.register("postgresql.session", __name__, "SessionDialect")
