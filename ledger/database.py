"""Connections, transactions, and what the database's errors mean.

Guarantees that code outside this module meets only errors of `ledger.errors`: a driver
error leaves here as Unavailable (it passes), Poisoned (this data does not go in) or
Misconfigured (nothing goes in until somebody looks).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ledger.errors import LedgerError, Misconfigured, Poisoned, Unavailable

CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_MS = 15_000
LOCK_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000
POOL_TIMEOUT_S = 2


def build_engine(database_url: str, *, application_name: str, pool_size: int = 20) -> Engine:
    """Make an engine. It connects on first use, so build it after the fork.

    pool_size: the most connections this process will ever hold.
    """
    url = make_url(database_url).set(drivername="postgresql+psycopg2")
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        pool_use_lifo=True,
        # Amounts and metadata are in the parameters, and errors are logged.
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": application_name,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
            "options": " ".join(
                f"-c {name}={value}"
                for name, value in (
                    ("statement_timeout", STATEMENT_TIMEOUT_MS),
                    ("lock_timeout", LOCK_TIMEOUT_MS),
                    ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT_MS),
                    ("timezone", "UTC"),
                )
            ),
        },
    )


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One database transaction: committed when the block ends, rolled back when it raises.

    Raises: Unavailable: when the database went away or asks to try again. The commit's
    own answer may be lost too, so the caller must look up what happened, never assume.
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
    except PoolTimeout as error:
        raise Unavailable("No database connection became free in time.") from error


# What an SQLSTATE class says (PostgreSQL manual, appendix A). Everything that is not
# listed is about the statement or the server, not about one transfer's data.
_PASSES = ("08", "40", "53", "55", "57", "58", "25")
_THIS_DATA = ("22", "23", "P0", "44")


def translate(error: DBAPIError) -> LedgerError:
    """Say what a driver's error means to the ledger, by its SQLSTATE."""
    sqlstate = getattr(error.orig, "pgcode", None)
    if error.connection_invalidated:
        return Unavailable("The connection to the database is gone.")
    if sqlstate is None:  # the driver speaks for itself: it was misused, or the link broke
        if isinstance(error, DataError | IntegrityError | ProgrammingError | NotSupportedError):
            return Poisoned("The database driver refused the data.")
        return Unavailable("The connection to the database is gone.")
    translated = _of_sqlstate(sqlstate)
    translated.add_note(_where(error, sqlstate))
    return translated


def _of_sqlstate(sqlstate: str) -> LedgerError:
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
