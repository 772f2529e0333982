"""Sessions of PostgreSQL: their settings, direct or behind a pooler, and commits in doubt.

Guarantees that the bounds of a session are in force in each of its transactions. A server takes
them when the session begins. A pooler in transaction mode (PgBouncer) gives each transaction to
another session of the server, so there they are sent with the transaction's first statement, and
so is every BEGIN: neither costs a round trip.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import psycopg2
from psycopg2.errors import (
    FeatureNotSupported,
    InsufficientPrivilege,
    InvalidSqlStatementName,
    UndefinedTable,
)
from psycopg2.extensions import (
    ISOLATION_LEVEL_AUTOCOMMIT,
    ISOLATION_LEVEL_READ_COMMITTED,
    ISOLATION_LEVEL_REPEATABLE_READ,
    ISOLATION_LEVEL_SERIALIZABLE,
    TRANSACTION_STATUS_IDLE,
    TRANSACTION_STATUS_INTRANS,
    connection,
    cursor,
)

from ledger.errors import Refused
from ledger.postgres.succession import Primary

if TYPE_CHECKING:
    from ledger.postgres.failover import Connector

_OPTION = re.compile(r"(?:-c\s*|--)([A-Za-z_][\w.-]*)=((?:\\.|[^\s\\%])*)(?:\s+|$)", re.ASCII)
_NOT_DURABLE = ("off", "local")
KEPT_AT_MOST: Final = 100
"""The most statements that a session keeps, in case that one is built again at each use."""
KEPT_S: Final = 10.0
"""The server keeps statements, and their plans, for so long."""
TIMELINE: Final = "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint"
"""The server's timeline as a number. It shows a promotion at once, but the control file only after
the next checkpoint. A server in recovery has no such name."""
LOOK: Final = f"""
SELECT pg_backend_pid(), current_setting('synchronous_commit'),
    current_setting('transaction_read_only') = 'on', system_identifier,
    CASE WHEN NOT pg_is_in_recovery() THEN {TIMELINE} END
FROM pg_control_system()
"""  # noqa: S608 - of a constant
"""What is asked of a server first."""
_NO_LOOK = (
    "The database server does not let this role ask for its timeline. It needs the functions "
    "pg_control_system() and pg_walfile_name(), which PostgreSQL grants to all."
)
_ACCEPTED = """
SELECT system, ('x' || timeline)::bit(32)::bigint, (extract(epoch FROM began_at) * 1000000)::bigint
FROM recording_eras ORDER BY era DESC LIMIT 1
"""


class CommitInDoubt(psycopg2.OperationalError):
    """The server warned that a commit is perhaps not where it must be, on a standby for example."""


class Look(NamedTuple):
    """What a server says of itself.

    system: the cluster. timeline: of its history; None while it takes no writes but a primary's.
    """

    is_read_only: bool
    system: int
    timeline: int | None


class ServerWait(threading.local):
    """The time that this thread has waited for the server's answers, in seconds, so far."""

    total_s = 0.0


server_wait = ServerWait()


class Session(connection):
    """A connection that knows how long to wait for an answer, and begins its transactions itself.

    For psycopg2 it is always in autocommit.
    """

    answer_timeout_s: float | None = None
    prelude: str = ""
    """What is sent with the first statement of each transaction."""
    host: int = 0
    """The server's position in the URL."""
    opened_by: Connector
    primary: Primary | None = None
    """Which primary it is; None if it takes no writes, or if nobody asked."""
    begins: bool = False
    """Whether the next statement begins a transaction."""
    _level: str | None = "READ COMMITTED"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.calls: dict[object, str] = {}
        """What calls each statement that the server keeps, see `ledger.postgres.dialect`."""
        self.numbers = itertools.count(1)
        """The numbers of these: none is used again, whatever interrupts us."""
        self.pending: list[bytes] = []
        """Statements that are sent with the next one, since nobody reads what they return."""
        self.answers = 1
        """How many statements the server now answers at once."""
        self._kept_since_s = time.monotonic()
        self._forgets = False

    @property
    def keeps_statements(self) -> bool:
        """Whether the server may keep one more: its session is always ours, without a pooler."""
        return not self.prelude and len(self.calls) < KEPT_AT_MOST

    def begin_session(self, settings: Mapping[str, str], *, has_settings: bool) -> Look:
        """Look at what answered: give a pooler the settings, and the server a durable commit.

        has_settings: whether a server has got the settings already, if it is not behind a pooler.
        Returns: what answered. Raises: psycopg2.Error: when that fails. Refused: when the server
        does not say what it is.
        """
        self.autocommit = True
        with self.cursor() as looking:
            try:
                looking.execute(LOOK)
            except (InsufficientPrivilege, FeatureNotSupported) as error:
                raise Refused(_NO_LOOK) from error
            backend_pid, commit, *answer = looking.fetchone() or (0, "on", True, 0, None)
            durable = {"synchronous_commit": "on"} if commit in _NOT_DURABLE else {}
            # A pooler invents the process id that it names when a session begins.
            if backend_pid != self.get_backend_pid() or not has_settings:
                self.prelude = _prelude({**settings, **durable})
            elif durable:
                looking.execute("SET synchronous_commit = on")
        return Look(*answer)

    def accepted_server(self) -> tuple[str, int, int] | None:
        """Return which server the database itself says it belongs to. No transaction is under way.

        That is the cluster, the timeline at that time, and when it was accepted, in microseconds;
        None before the migrations have run.
        """
        try:
            with self.cursor() as asking:
                asking.execute(_ACCEPTED)
                return cast("tuple[str, int, int] | None", asking.fetchone())
        except (UndefinedTable, InsufficientPrivilege):
            return None

    def set_isolation_level(self, level: int | None) -> None:
        """Note the level of the transactions to come; at that of autocommit none is begun."""
        self._level = _LEVELS[level]

    def begin(self) -> None:
        """Begin a transaction with the next statement."""
        self.begins = self._level is not None
        # A kept plan does not see a table grow, and PostgreSQL compares its cost with those of
        # plans that it made when the statement was new: so it begins with each of them again.
        is_old = self._forgets or time.monotonic() - self._kept_since_s >= KEPT_S
        if self.begins and self.calls and is_old:
            self.calls.clear()
            self._forgets = True
            self._kept_since_s = time.monotonic()

    @property
    def is_begun(self) -> bool:
        """Whether a transaction is under way, or begins with the next statement."""
        return self.begins or not self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether no transaction is under way on the server."""
        return self.get_transaction_status() == TRANSACTION_STATUS_IDLE

    def commit(self) -> None:
        """Commit what has begun, if anything.

        Raises: CommitInDoubt: when the server warns: it has committed here only.
        psycopg2.OperationalError: when it has rolled back, since a statement had failed.
        """
        try:
            if self.is_idle and not self.pending:
                return
            with self.cursor() as ending:
                ending.execute("COMMIT")
                if ending.statusmessage != "COMMIT":
                    raise psycopg2.OperationalError("the transaction was rolled back")
        finally:
            self.begins = False

    def rollback(self) -> None:
        """Roll back what has begun, if anything."""
        self.begins = False
        self.pending.clear()
        if not self.is_idle:
            with self.cursor() as ending:
                ending.execute("ROLLBACK")

    def opening(self) -> str:
        """Return what the next statement needs before it, on its way to the server."""
        if not self.is_idle:
            return ""
        if self.begins:
            forgetting, self._forgets = "DEALLOCATE ALL; " if self._forgets else "", False
            # In this order: no level can be set after another statement.
            return f"BEGIN ISOLATION LEVEL {self._level}; {forgetting}{self.prelude}"
        return _READ_COMMITTED + self.prelude if self.prelude else ""

    def is_left_by(self, error: BaseException) -> bool:
        """Whether the session is of no use after an error, so that it has to count as lost."""
        if isinstance(error, FeatureNotSupported | InvalidSqlStatementName):
            # Of a kept statement: a column has another type now, or the server has forgotten it.
            # On a new connection all is well.
            return bool(self.calls)
        # Whether the server has got what waited is not known. So it must not be committed.
        return bool(self.pending) and self.get_transaction_status() == TRANSACTION_STATUS_INTRANS

    def require_confirmed(self) -> None:
        # A commit has nothing else to warn of, and the text of the warning may be translated.
        if self.notices:
            raise CommitInDoubt(" ".join(str(self.notices[-1]).split()))


class SessionCursor(cursor):
    """A cursor that begins transactions, and looks at what each commit says."""

    connection: Session

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name
        session = self.connection
        session.notices.clear()
        session.answers = len(session.pending) + 1
        if session.pending:
            query, vars = b"; ".join([*session.pending, self.mogrify(query, vars)]), None  # noqa: A001
        began_s = time.perf_counter()
        try:
            opening = session.opening()
            if opening:
                query = opening.encode() + query if isinstance(query, bytes) else opening + query
            super().execute(query, vars)
            session.pending.clear()
        except BaseException as error:
            if session.is_left_by(error):
                session.close()
            raise
        finally:
            # One that has failed on its way, or was not understood, has begun nothing. What waits
            # for it waits for the next one.
            session.begins = session.begins and session.is_idle
            if not session.begins:
                session.pending.clear()
        server_wait.total_s += time.perf_counter() - began_s
        if session.is_idle:
            session.require_confirmed()

    def executemany(self, query: Any, vars_list: Iterable[Any]) -> None:
        session = self.connection
        if session.begins or session.pending:
            self.execute("SELECT")  # it begins the transaction, which each of these would do
        session.notices.clear()
        session.answers = 1
        super().executemany(session.opening() + query, vars_list)
        if session.is_idle:
            session.require_confirmed()


_LEVELS: dict[int | None, str | None] = {
    ISOLATION_LEVEL_AUTOCOMMIT: None,
    ISOLATION_LEVEL_READ_COMMITTED: "READ COMMITTED",
    ISOLATION_LEVEL_REPEATABLE_READ: "REPEATABLE READ",
    ISOLATION_LEVEL_SERIALIZABLE: "SERIALIZABLE",
}
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
