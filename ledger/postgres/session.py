"""Sessions of PostgreSQL: their settings, direct or behind a pooler, and commits in doubt.

Guarantees that the bounds of a session are in force in each of its transactions. A server takes
them when the session begins. A pooler in transaction mode (PgBouncer) gives each transaction to
another session of the server, so there they are sent with the transaction's first statement, which
costs no round trip.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg2
from psycopg2.extensions import STATUS_READY, connection, cursor

_OPTION = re.compile(r"(?:-c\s*|--)([A-Za-z_][\w.-]*)=((?:\\.|[^\s\\%])*)(?:\s+|$)", re.ASCII)
_NOT_DURABLE = ("off", "local")
_LOOK = "SELECT pg_backend_pid(), current_setting('synchronous_commit')"


class CommitInDoubt(psycopg2.OperationalError):
    """The server warned that a commit is perhaps not where it must be, on a standby for example."""


class ServerWait(threading.local):
    """The time that this thread has waited for the server's answers, in seconds, so far."""

    total_s = 0.0


server_wait = ServerWait()


class Session(connection):
    """A connection that knows how long to wait for an answer, and how to begin a transaction."""

    answer_timeout_s: float | None = None
    prelude: str = ""
    """What is sent with the first statement of each transaction."""

    def begin_session(self, settings: Mapping[str, str], *, has_settings: bool) -> None:
        """Look at what answered: give a pooler the settings, and the server a durable commit.

        has_settings: whether a server has got the settings already, if it is not behind a pooler.
        Raises: psycopg2.Error: when that fails.
        """
        self.autocommit = True
        with self.cursor() as looking:
            looking.execute(_LOOK)
            backend_pid, commit = looking.fetchone() or (0, "on")
            durable = {"synchronous_commit": "on"} if commit in _NOT_DURABLE else {}
            # A pooler invents the process id that it names when a session begins.
            if backend_pid != self.get_backend_pid() or not has_settings:
                self.prelude = _prelude({**settings, **durable})
            elif durable:
                looking.execute("SET synchronous_commit = on")
        self.autocommit = False

    def commit(self) -> None:
        """Commit. Raises: CommitInDoubt: when the server warns: it has committed here only."""
        self.notices.clear()
        began_s = time.perf_counter()
        super().commit()
        server_wait.total_s += time.perf_counter() - began_s
        self.require_confirmed()

    def require_confirmed(self) -> None:
        # A commit has nothing else to warn of, and the text of the warning may be translated.
        if self.notices:
            raise CommitInDoubt(" ".join(str(self.notices[-1]).split()))


class SessionCursor(cursor):
    """A cursor that begins transactions, and looks at those that are a single statement."""

    connection: Session

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name
        self.connection.notices.clear()
        began_s = time.perf_counter()
        super().execute(self._with_prelude(query), vars)
        server_wait.total_s += time.perf_counter() - began_s
        if self.connection.autocommit:
            self.connection.require_confirmed()

    def executemany(self, query: Any, vars_list: Iterable[Any]) -> None:
        self.connection.notices.clear()
        super().executemany(self._with_prelude(query), vars_list)
        if self.connection.autocommit:
            self.connection.require_confirmed()

    def _with_prelude(self, query: Any) -> Any:
        session = self.connection
        if not session.prelude or session.status != STATUS_READY:
            return query
        # A transaction with an isolation level of its own has begun with it.
        given = not session.autocommit and session.isolation_level is not None
        prelude = session.prelude if given else _READ_COMMITTED + session.prelude
        return prelude.encode() + query if isinstance(query, bytes) else prelude + query


_READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; "


def read_options(options: str) -> dict[str, str]:
    """Return the settings in `options` of a URL, such as `-c search_path=money`.

    Raises: ValueError: when it has anything else, which cannot be sent through a pooler.
    """
    settings, at = {}, 0
    text = options.strip()
    while at < len(text):
        found = _OPTION.match(text, at)
        if found is None:
            raise ValueError(text)
        settings[found[1].replace("-", "_")] = re.sub(r"\\(.)", r"\1", found[2])
        at = found.end()
    return settings


def write_options(settings: Mapping[str, str]) -> str:
    """Return the settings as `options` of a connection."""
    escaped = ((name, re.sub(r"([\\\s])", r"\\\1", value)) for name, value in settings.items())
    return " ".join(f"-c {name}={value}" for name, value in escaped)


def _prelude(settings: Mapping[str, str]) -> str:
    quoted = ((name, value.replace("'", "''")) for name, value in settings.items())
    calls = (f"set_config('{name}', '{value}', true)" for name, value in quoted)
    return f"SELECT {', '.join(calls)}; "
