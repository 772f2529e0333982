"""Connections, transactions, and what the database's errors mean.

Guarantees that code outside this module meets only errors of `ledger.errors`: a driver
error leaves here as Unavailable (it passes), Poisoned (this data does not go in) or
Misconfigured (nothing goes in until somebody looks).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, text
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ledger.errors import LedgerError, Misconfigured, Poisoned, Unavailable, Unreachable
from ledger.postgres.failover import Connector

STATEMENT_TIMEOUT_S = 15.0
LOCK_TIMEOUT_S = 5.0
IDLE_IN_TRANSACTION_TIMEOUT_S = 30.0
POOL_TIMEOUT_S = 2
GRACE_S = 1.0
"""How much longer than its time-out the server may take to say that it is over."""


def build_engine(
    database_url: str,
    *,
    application_name: str,
    pool_size: int = 20,
    statement_timeout_s: float | None = STATEMENT_TIMEOUT_S,
) -> Engine:
    """Make an engine. It connects on first use, so build it after the fork.

    database_url: libpq's, so with several hosts if need be.
    pool_size: the most connections this process will ever hold; 0 for a new one at each use.
    statement_timeout_s: the most that a statement, and the wait for its answer, may take;
    None for no bound, as migrations need it.
    Raises: Misconfigured: when the URL cannot be read.
    """
    try:
        connector = Connector(
            database_url,
            answer_timeout_s=statement_timeout_s and statement_timeout_s + GRACE_S,
            parameters={
                "application_name": application_name,
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "tcp_user_timeout": 20_000,
                "options": _options(statement_timeout_s),
            },
        )
    except psycopg2.ProgrammingError as error:
        raise Misconfigured("DATABASE_URL is not a URL that PostgreSQL's library reads.") from error
    return create_engine(
        "postgresql+psycopg2://",
        creator=connector,
        # Amounts and metadata are in the parameters, and errors are logged.
        hide_parameters=True,
        **_pool(pool_size),
    )


def _options(statement_timeout_s: float | None) -> str:
    bounds_s = {
        "statement_timeout": statement_timeout_s or 0,
        "lock_timeout": min(LOCK_TIMEOUT_S, statement_timeout_s or LOCK_TIMEOUT_S),
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_S,
    }
    bounds = [f"-c {name}={round(bound_s * 1000)}" for name, bound_s in bounds_s.items()]
    return " ".join([*bounds, *_KEEPALIVES, "-c timezone=UTC"])


# The server's side: what a client that has vanished held is free again within seconds.
_KEEPALIVES = (
    "-c tcp_keepalives_idle=5",
    "-c tcp_keepalives_interval=2",
    "-c tcp_keepalives_count=3",
)


def _pool(size: int) -> dict[str, object]:
    if size == 0:
        return {"poolclass": NullPool}
    bounds = {"pool_size": size, "max_overflow": 0, "pool_timeout": POOL_TIMEOUT_S}
    return {"poolclass": QueuePool, "pool_use_lifo": True, **bounds}


def probe(engine: Engine) -> None:
    """Make sure that the database answers, and that a commit comes through.

    A primary whose synchronous standby is gone answers every question and confirms no commit.
    Raises: Unavailable: when it does not.
    """
    with autocommit(engine) as connection:
        if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
            raise Unreachable("The database takes no writes: it is a standby, or read-only.")
        connection.execute(_COMMIT_SOMETHING, {"key": _PROBE_KEY})


_PROBE_KEY = 0x7472_7565_7072_6F62
"""Any number of ours; this one spells "trueprob"."""
# A message in the write-ahead log, which belongs to no table. Under a lock that is held until
# the commit is through: of many probes whose commits hang, one alone keeps a session.
_COMMIT_SOMETHING = text(
    "SELECT pg_logical_emit_message(true, 'truepenny', 'probe')"
    " FROM (SELECT pg_advisory_xact_lock(:key)) AS locked"
)


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One database transaction: committed when the block ends, rolled back when it raises.

    Raises: Unreachable: when the database is away. Unavailable: when it asks to try again.
    The commit's own answer may be lost too, so the caller must look up what happened, never
    assume.
    """
    with _translated(), engine.begin() as connection:
        yield connection


@contextmanager
def autocommit(engine: Engine) -> Iterator[Connection]:
    """A connection on which each statement is its own transaction: for reads, mostly."""
    with _translated(), engine.connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """A part of a transaction that can fail alone: undone when the block raises."""
    with _translated(), connection.begin_nested():
        yield


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        # Without its cause: PostgreSQL's own detail shows the failing row, and errors are logged.
        raise translate(error).with_traceback(error.__traceback__) from None
    except psycopg2.Error as error:
        # SQLAlchemy lets the driver's own through where it sets a connection up.
        raise _of_link(error.pgcode) from None
    except PoolTimeout as error:
        raise Unavailable("No database connection became free in time.") from error


# What an SQLSTATE says (PostgreSQL manual, appendix A). Everything that is not listed is
# about the statement or the server, not about one transfer's data.
_AWAY = ("08", "53", "57P", "58", "25006")
_PASSES = ("40", "55", "57", "25")
_THIS_DATA = ("22", "23", "P0", "44")


def translate(error: DBAPIError) -> LedgerError:
    """Say what a driver's error means to the ledger, by its SQLSTATE."""
    sqlstate = getattr(error.orig, "pgcode", None)
    if error.connection_invalidated:
        return _of_link(sqlstate)
    if sqlstate is None:  # the driver speaks for itself: it was misused, or the link broke
        if isinstance(error, DataError | IntegrityError | ProgrammingError | NotSupportedError):
            return Poisoned("The database driver refused the data.")
        return _of_link(sqlstate)
    translated = _of_sqlstate(sqlstate)
    translated.add_note(_where(error, sqlstate))
    return translated


def _of_link(sqlstate: str | None) -> Unreachable:
    return Unreachable(f"The connection to the database is gone ({sqlstate or 'no answer'}).")


def _of_sqlstate(sqlstate: str) -> LedgerError:
    if sqlstate.startswith(_AWAY):
        return Unreachable(f"The database is away ({sqlstate}).")
    if sqlstate.startswith(_PASSES):
        return Unavailable(f"The database cannot answer right now ({sqlstate}).")
    if sqlstate.startswith(_THIS_DATA):
        return Poisoned(f"The database refused the data ({sqlstate}).")
    return Misconfigured(f"The database refused the statement ({sqlstate}).")


def _where(error: DBAPIError, sqlstate: str) -> str:
    """What a log needs to know, and no value of any row."""
    said = getattr(error.orig, "diag", None)
    names = (getattr(said, name, None) for name in ("table_name", "constraint_name"))
    # Only class 22 quotes the value that it cannot use.
    message = None if sqlstate.startswith("22") else getattr(said, "message_primary", None)
    return " · ".join(str(part) for part in (sqlstate, *names, message) if part)
