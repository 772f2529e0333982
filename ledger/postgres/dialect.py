"""SQLAlchemy's dialect for our sessions, which begin their transactions themselves.

Guarantees that a statement marked with PREPARED is parsed and planned once by each session, and
not at each use, where the session's server is always the same; see `Session.keeps_statements`.
"""

from __future__ import annotations

from typing import Any, Final

from psycopg2.extensions import AsIs
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.types import NullType

NAME = "postgresql+session"
PREPARED: Final = {"prepared": True}
"""Execution options of a statement that is built once and used often."""
UNREAD: Final = {**PREPARED, "unread": True}
"""Execution options of such a statement whose result nobody reads, not even how many rows it has
changed. In a transaction it is sent with the next statement, which may be COMMIT, and so costs no
round trip. If it fails, that one raises the error."""


class SessionDialect(PGDialect_psycopg2):
    """The dialect of psycopg2, where `ledger.postgres.session.Session` sends BEGIN and COMMIT."""

    supports_statement_cache = True

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin with the next statement. psycopg2 would send BEGIN by itself, and wait for it."""
        dbapi_connection.begin()

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """Execute the statement: by its name, if it is marked and the session keeps it."""
        session = cursor.connection
        options = context.execution_options if context is not None else {}
        if options.get("prepared"):
            # With other parameters SQLAlchemy may build another text, of other columns.
            call = session.calls.get((context.invoked_statement, *parameters))
            if call is None and session.keeps_statements and not _has_lists(context.compiled):
                call = self._prepare(cursor, statement, parameters, context)
            statement = call or statement
        if (
            options.get("unread")
            and session.is_begun
            and not context.root_connection.in_nested_transaction()
        ):
            session.pending.append(cursor.mogrify(statement, parameters))
        else:
            cursor.execute(statement, parameters)

    def _prepare(self, cursor: Any, statement: str, parameters: Any, context: Any) -> str:
        """Have the server keep the statement. Returns: what calls it.

        What the builder has put into it is a constant there, which the planner can use. Only what
        the caller can give is a parameter: it has a name of its own.
        """
        session, binds = cursor.connection, context.compiled.binds
        given = [name for name in parameters if name in binds and not binds[name].unique]
        types = ", ".join(self._type_name(binds[name].type) for name in given)
        places = {name: AsIs(f"${position}") for position, name in enumerate(given, start=1)}
        name = f"kept_{next(session.numbers)}"
        header = f"PREPARE {name} ({types}) AS " if given else f"PREPARE {name} AS "
        cursor.execute(header + statement, {**parameters, **places})
        arguments = ", ".join(f"%({each})s" for each in given)
        call = f"EXECUTE {name}({arguments})" if given else f"EXECUTE {name}"
        session.calls[context.invoked_statement, *parameters] = call
        return call

    def _type_name(self, kind: Any) -> str:
        """Return the type of a parameter; PostgreSQL finds out what the statement leaves open."""
        return "unknown" if isinstance(kind, NullType) else str(kind.compile(self))


def _has_lists(compiled: Any) -> bool:
    """Whether the caller gives lists, each item of which SQLAlchemy writes into the text."""
    return any(not bind.unique for bind in compiled.post_compile_params)


registry.register("postgresql.session", __name__, "SessionDialect")
