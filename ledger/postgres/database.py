"""Database access: engines, transactions, locks, and the translation of PostgreSQL's errors.

Guarantees that code outside this module sees only errors of `ledger.errors`: a driver
error becomes Unavailable (it passes), Poisoned (the database does not accept this data) or
Misconfigured (an operator must act before anything works).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import psycopg2
from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event, text
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ledger.errors import (
    InDoubt,
    LedgerError,
    LockTimeout,
    Misconfigured,
    Poisoned,
    Refused,
    StatementTimeout,
    Unavailable,
    Unreachable,
)
from ledger.postgres import dialect, exact_json
from ledger.postgres.failover import Connector
from ledger.postgres.session import LOOK, CommitInDoubt, Look, Session
from ledger.postgres.succession import Succession

STATEMENT_TIMEOUT_S = 15.0
LOCK_TIMEOUT_S = 5.0
IDLE_IN_TRANSACTION_TIMEOUT_S = 8.0
"""A process that freezes in a transaction keeps its locks for this long. No code waits in one."""
POOL_TIMEOUT_S = 2
GRACE_S = 1.0
"""The time that the server has, after a statement's time-out, to report it."""


def build_engine(
    database_url: str,
    *,
    application_name: str,
    pool_size: int = 20,
    statement_timeout_s: float | None = STATEMENT_TIMEOUT_S,
    accepts_any_server: bool = False,
) -> Engine:
    """Build an engine. It connects on first use, so build it after the fork.

    database_url: as libpq reads it, possibly with several hosts.
    pool_size: the most connections this process will ever hold; 0 for a new one at each use.
    statement_timeout_s: the most that a statement, and the wait for its answer, may take;
    None for no limit, as migrations need it.
    accepts_any_server: use also a server that an operator has yet to accept.
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
            },
            settings=_settings(statement_timeout_s),
            direct_settings=_KEEPALIVES,
            accepts_any_server=accepts_any_server,
        )
    except psycopg2.ProgrammingError as error:
        raise Misconfigured("DATABASE_URL is not a valid PostgreSQL URL.") from error
    except ValueError:
        raise Misconfigured(
            "The options in DATABASE_URL must be settings, such as options=-c%20search_path=money."
        ) from None
    pool: dict[str, object] = {"poolclass": NullPool}
    if pool_size:
        pool = {"poolclass": QueuePool, "pool_use_lifo": True, "pool_timeout": POOL_TIMEOUT_S}
        pool |= {"pool_size": pool_size, "max_overflow": 0}
    engine = create_engine(
        f"{dialect.NAME}://",
        creator=connector,
        # Amounts and metadata are in the parameters, and errors are logged.
        hide_parameters=True,
        json_serializer=exact_json.dumps,
        json_deserializer=exact_json.loads,
        use_native_hstore=False,  # it asks for the type's number at each connection
        **pool,
    )
    event.listen(engine, "checkout", _drop_if_replaced)
    return engine


def _drop_if_replaced(session: Session, *_: object) -> None:
    """Have the pool replace a connection to a server that a failover has replaced."""
    primary = session.primary
    if primary is not None and session.opened_by.succession.has_replaced(primary):
        raise DisconnectionError


def _settings(statement_timeout_s: float | None) -> dict[str, str]:
    bounds_s = {
        "statement_timeout": statement_timeout_s or 0,
        "lock_timeout": min(LOCK_TIMEOUT_S, statement_timeout_s or LOCK_TIMEOUT_S),
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_S,
    }
    return {
        **{name: str(round(bound_s * 1000)) for name, bound_s in bounds_s.items()},
        "default_transaction_isolation": "read committed",
        "client_min_messages": "warning",  # what a commit says below that is no reason for doubt
        "timezone": "UTC",
    }


# On the server: the locks of a client that has vanished are released within seconds. A pooler
# does this for its own connections.
_KEEPALIVES = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}


def probe(engine: Engine, *, compare: Callable[[Succession], None] | None = None) -> None:
    """Check that the database answers, that a commit succeeds, and that no failover replaced it.

    A primary whose synchronous standby is gone answers every query but confirms no commit.
    After a failure another host is tried first, if the URL has several.
    compare: called to learn what other processes know; then one of the other hosts is asked too.
    Raises: Unavailable: when the check fails.
    """
    with autocommit(engine) as connection:
        session = session_of(connection)
        servers = session.opened_by
        try:
            look = Look(*connection.execute(text(LOOK)).one()[2:])
            servers.judge(session, look)
            connection.execute(_COMMIT_SOMETHING, {"key": _PROBE_KEY})
            if compare is not None:
                servers.ask_another(session)
                compare(servers.succession)
                servers.judge(session, look)
        except Exception:
            servers.leave(session)
            raise


def session_of(connection: Connection) -> Session:
    """Return the driver's connection, which knows the server."""
    return cast(Session, connection.connection.driver_connection)


_PROBE_KEY = 0x7472_7565_7072_6F62
"""A number of our own: the letters "trueprob"."""
# A message in the write-ahead log, which belongs to no table. It is written under a lock that is
# held until the commit: of many probes whose commits hang, only one keeps a session.
_COMMIT_SOMETHING = text(
    "SELECT pg_logical_emit_message(true, 'truepenny', 'probe')"
    " FROM (SELECT pg_advisory_xact_lock(:key)) AS locked"
)


def durability_settings_that_are_off(connection: Connection) -> list[str]:
    """Return the settings, as in force in this session, without which a crash undoes commits."""
    return list(connection.scalars(_OFF))


_OFF = text("""
    SELECT name FROM pg_settings WHERE setting = 'off' AND name IN ('fsync', 'full_page_writes')
    OR setting IN ('off', 'local') AND name = 'synchronous_commit' ORDER BY name
""")


def confirm(connection: Connection) -> None:
    """Commit something: once it is confirmed, so is all that was committed before it."""
    connection.execute(_CONFIRM)


_CONFIRM = text("SELECT pg_logical_emit_message(true, 'truepenny', 'confirm')")


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Run the block in one transaction: committed at its end, rolled back when it raises.

    Raises: Unreachable: when the database is away. Unavailable: when it should be tried again.
    The answer to the commit may be lost too. So after an error the caller must look up whether
    it was committed.
    """
    with _translated(), engine.begin() as connection:
        yield connection


@contextmanager
def autocommit(engine: Engine) -> Iterator[Connection]:
    """Connect for the block; each statement is its own transaction. Mostly for reads."""
    with _translated(), engine.connect() as connection, connection.begin():
        # SQLAlchemy's own way sets an isolation level at each use, and resets it.
        session_of(connection).begins = False
        yield connection


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Run the block as a part of the transaction that is undone alone when the block raises."""
    with _translated(), connection.begin_nested():
        yield


@contextmanager
def undone(connection: Connection) -> Iterator[None]:
    """Run the block as a part of the transaction that is undone: its changes, and its locks."""
    with _translated():
        part = connection.begin_nested()
        try:
            yield
        finally:
            part.rollback()


@contextmanager
def try_lock(engine: Engine, key: int) -> Iterator[bool]:
    """Hold an advisory lock of the database for the block. Yields: False when it is taken already.

    The lock belongs to a transaction, which the server ends when it is idle for too long: a
    process that hangs loses the lock and does not block the others.
    """
    with transaction(engine) as connection:
        lock = text("SELECT pg_try_advisory_xact_lock(:key)")
        yield bool(connection.execute(lock, {"key": key}).scalar_one())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        # Without its cause: PostgreSQL's detail shows the failing row, and errors are logged.
        raise translate(error).with_traceback(error.__traceback__) from None
    except psycopg2.Error as error:
        # SQLAlchemy does not wrap the driver's errors while it sets up a connection.
        raise _of_connecting(error) from None
    except PoolTimeout as error:
        raise Unavailable("No database connection became free in time.") from error


# The meaning of SQLSTATE prefixes (PostgreSQL manual, appendix A). All others are about the
# statement or the server, not about one transfer's data.
_AWAY = ("08", "53", "57P", "58", "25006")
_PASSES = ("40", "55", "57", "25")
_THIS_DATA = ("22", "23", "P0", "44")
_TIMEOUTS = {"55P03": LockTimeout, "57014": StatementTimeout}


def translate(error: DBAPIError) -> LedgerError:
    """Return the ledger's error for an error of the driver, by its SQLSTATE."""
    if isinstance(error.orig, CommitInDoubt):
        return InDoubt(f"{InDoubt.__doc__} It says: {error.orig}")
    sqlstate = getattr(error.orig, "pgcode", None)
    if error.connection_invalidated:
        return _of_link(sqlstate)
    if sqlstate is None:  # from the driver, not the server: bad arguments, or a lost connection
        if isinstance(error, DataError | IntegrityError | ProgrammingError | NotSupportedError):
            return Poisoned("The database driver does not accept the data.")
        return _of_connecting(error.orig)
    translated = _of_sqlstate(sqlstate)
    # A note for the log: the place of the error, without any value of a row.
    diagnostics = getattr(error.orig, "diag", None)
    place = [getattr(diagnostics, name, None) for name in ("table_name", "constraint_name")]
    if not sqlstate.startswith("22"):  # only messages of class 22 quote a value
        place.append(getattr(diagnostics, "message_primary", None))
    translated.add_note(" · ".join(str(part) for part in (sqlstate, *place) if part))
    return translated


# Of a server and of PgBouncer, while connecting: psycopg2 gives no SQLSTATE there.
_REFUSALS = (
    "authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "is not permitted to log in",
    "permission denied for",
    "SSL was required",
    "certificate verify failed",
    "no such user",
    "no such database",
    "unsupported startup parameter",
    "unrecognized configuration parameter",
)


def _of_connecting(error: BaseException | None) -> Unreachable:
    said = " ".join(str(error).split()).rpartition("failed: ")[2]
    if any(words in said for words in _REFUSALS):
        return Refused(f"{Refused.__doc__} It says: {said}")
    return _of_link(getattr(error, "pgcode", None))


def _of_link(sqlstate: str | None) -> Unreachable:
    return Unreachable(f"The connection to the database is gone ({sqlstate or 'no answer'}).")


def _of_sqlstate(sqlstate: str) -> LedgerError:
    if sqlstate.startswith(_AWAY):
        return Unreachable(f"The database is away ({sqlstate}).")
    if sqlstate in _TIMEOUTS:
        return _TIMEOUTS[sqlstate](f"The database did not answer in time ({sqlstate}).")
    if sqlstate.startswith(_PASSES):
        return Unavailable(f"The database cannot answer right now ({sqlstate}).")
    if sqlstate.startswith(_THIS_DATA):
        return Poisoned(f"The database does not accept the data ({sqlstate}).")
    return Misconfigured(f"The database does not accept the statement ({sqlstate}).")
