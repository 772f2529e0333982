"""Revisions: applies the migrations one after the other, beside a version that goes on writing.

Each migration is a transaction of its own, which waits for a lock for a moment only: as long as it
waits for a table, everybody who comes after it waits too. It is tried again until the lock is free.
Before a migration, its CONCURRENT_INDEXES are built without stopping writers. When a process dies,
the next one goes on: the schema stands at the last migration that was committed, and half an index
is built again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from alembic import command
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, Engine, text

from ledger.errors import InDoubt, LockTimeout, Unavailable, Unreachable
from ledger.postgres.database import autocommit, session_of, transaction
from migrations.schema_version import SchemaVersion, alembic_config, schema_version

LOCK_KEY: Final = 0x7472_7565_7065_6E6E
"""Of the lock under which everything is migrated. A number of our own: the letters "truepenn"."""
LOCK_WAIT_S: Final = 0.3
INDEX_WAIT_S: Final = 300.0
"""A concurrent build waits until transactions that began before it have ended, a dump for example.
Nobody waits behind it."""
GIVE_UP_AFTER_S: Final = 600.0
"""How long one migration is tried, and another process is waited for. Nothing has happened then;
another run tries it again."""
_PAUSE_S: Final = 0.3

Say = Callable[[str], None]


def migrate(engine: Engine, *, say: Say) -> SchemaVersion:
    """Apply each migration that is missing. Safe in several processes at once: they take turns.

    Returns: the version of the schema afterwards, which is never BEHIND.
    Raises: LockTimeout: when other sessions keep a lock that is needed, for GIVE_UP_AFTER_S.
    """
    began_s, failed = time.monotonic(), None
    while True:
        following = _following(engine)
        try:
            found = _apply(engine, following)
        except (Unreachable, InDoubt):
            raise
        except Unavailable as error:  # a lock was not free in time, or two waited for each other
            name = following.revision if following else "?"
            if name != failed:
                began_s, failed = time.monotonic(), name
                say(f"migration {name} waits until other sessions of the database release a lock")
            elif time.monotonic() - began_s > GIVE_UP_AFTER_S:
                raise LockTimeout(
                    f"Migration {name} did not get the locks that it needs: other sessions of the "
                    "database have long transactions (a dump, a report). Let them end, then "
                    "migrate again; it goes on where it stopped."
                ) from error
            time.sleep(_PAUSE_S)
        else:
            if found is not SchemaVersion.BEHIND:
                return found


@contextmanager
def locked(engine: Engine, *, lock_wait_s: float = LOCK_WAIT_S) -> Iterator[Connection]:
    """Run the block in a transaction beside which no other process migrates.

    It asks for the lock again and again. A session that waits for it would keep a snapshot, for
    whose end a concurrent build waits, which holds the lock.
    Raises: LockTimeout: when another process keeps the lock for GIVE_UP_AFTER_S.
    """
    for _ in _tries():
        with transaction(engine) as connection:
            if connection.scalar(_TRY_FOR_TRANSACTION, {"key": LOCK_KEY}):
                connection.execute(_BOUNDS, {"lock_wait": f"{lock_wait_s * 1000:.0f}"})
                yield connection
                return


def _tries() -> Iterator[None]:
    """Yield at intervals, for GIVE_UP_AFTER_S. Raises: LockTimeout: then."""
    give_up_at_s = time.monotonic() + GIVE_UP_AFTER_S
    while time.monotonic() < give_up_at_s:
        yield
        time.sleep(_PAUSE_S)
    raise LockTimeout("Another process migrates this database, and has not ended yet.")


def _following(engine: Engine) -> Script | None:
    """Return the next migration that is missing."""
    with autocommit(engine) as connection:
        if schema_version(connection) is not SchemaVersion.BEHIND:
            return None
        current = MigrationContext.configure(connection).get_current_revision()
    script = ScriptDirectory.from_config(alembic_config())
    return next(each for each in script.walk_revisions() if each.down_revision == current)


def _apply(engine: Engine, following: Script | None) -> SchemaVersion:
    """Apply the next migration, unless another process has. Returns: the version then."""
    indexes: Mapping[str, str] = getattr(following and following.module, "CONCURRENT_INDEXES", {})
    for name, statement in indexes.items():
        _build(engine, name, statement)
    with locked(engine) as connection:
        if schema_version(connection) is SchemaVersion.BEHIND:
            for name in indexes:  # half of one is left only behind a pooler
                if connection.scalar(_IS_WHOLE, {"name": name}) is False:
                    connection.execute(text(f"DROP INDEX {name}"))
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "+1")
        return schema_version(connection)


def _build(engine: Engine, name: str, statement: str) -> None:
    """Build an index without stopping writers, unless it is there. Harmless to repeat.

    Behind a pooler the migration itself builds it, which stops them: there no statement is alone
    in its transaction, and no lock belongs to a session.
    """
    with autocommit(engine) as connection:
        if session_of(connection).prelude:
            return
        for _ in _tries():
            if connection.scalar(_TRY_FOR_SESSION, {"key": LOCK_KEY}):
                break
        try:
            is_whole = connection.scalar(_IS_WHOLE, {"name": name})
            connection.execute(_BOUNDS_OF_INDEX, {"lock_wait": f"{INDEX_WAIT_S * 1000:.0f}"})
            if is_whole is False:  # a process died while it built it
                connection.execute(text(f"DROP INDEX CONCURRENTLY {name}"))
            if not is_whole:
                connection.execute(text(statement.format(how="CONCURRENTLY")))
        finally:
            if not connection.invalidated:  # else the session has ended, and its lock with it
                connection.execute(_UNLOCK, {"key": LOCK_KEY})


_TRY_FOR_TRANSACTION = text("SELECT pg_try_advisory_xact_lock(:key)")
_TRY_FOR_SESSION = text("SELECT pg_try_advisory_lock(:key)")
_UNLOCK = text("RESET statement_timeout; RESET lock_timeout; SELECT pg_advisory_unlock(:key)")
_BOUNDS = text(
    "SELECT set_config('statement_timeout', '0', true),"
    " set_config('lock_timeout', :lock_wait, true)"
)
_BOUNDS_OF_INDEX = text(
    "SELECT set_config('statement_timeout', '0', false),"
    " set_config('lock_timeout', :lock_wait, false)"
)
# NULL where there is none.
_IS_WHOLE = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
