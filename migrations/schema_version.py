"""Schema version: compares the database's schema with the migrations of this code.

Guarantees that it changes nothing. A schema that is ahead is not an error: this happens after a
rollback of the code, and to an old process that restarts while a newer version is rolled out.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from ledger.errors import Refused, Unavailable
from ledger.postgres.database import autocommit

AWAY_AFTER_S = 20.0
"""A database that has not answered for so long is away; the program then starts without it."""
_LOOK_EVERY_S = 1.0
# NULL where there is no such table.
_MAY_READ = text("SELECT has_table_privilege(to_regclass('alembic_version'), 'SELECT')")


class SchemaVersion(enum.Enum):
    """The schema in comparison with the code."""

    BEHIND = "the migrations have not run yet"
    CURRENT = "the database is up to date"
    AHEAD = "the database is ahead of this version, which works on it as it is"


def alembic_config() -> Config:
    """Return Alembic's configuration."""
    return Config(Path(__file__).parent.parent / "alembic.ini")


def schema_version(connection: Connection) -> SchemaVersion:
    """Read the version of the schema. An empty database is BEHIND.

    So is one that grants nothing to this role yet: the migrations of this version have not run.
    """
    if connection.execute(_MAY_READ).scalar_one() is False:
        return SchemaVersion.BEHIND
    script = ScriptDirectory.from_config(alembic_config())
    found = set(MigrationContext.configure(connection).get_current_heads())
    if found == set(script.get_heads()):
        return SchemaVersion.CURRENT
    known = {revision.revision for revision in script.walk_revisions()}
    return SchemaVersion.BEHIND if found <= known else SchemaVersion.AHEAD


def wait_until_migrated(
    engine: Engine,
    *,
    say: Callable[[str], None],
    away_after_s: float = AWAY_AFTER_S,
    look_every_s: float = _LOOK_EVERY_S,
) -> None:
    """Wait until another process has migrated the schema to this version or a newer one.

    Also returns when the database cannot be reached for `away_after_s`: the application accepts
    transfers without it, so waiting longer would extend its outage to everything.
    Raises: LedgerError: when the database answers, but its schema cannot be read, or refuses the
    connection for so long: an operator must act.
    """
    answered_at_s = time.monotonic()
    last_said = None
    while True:
        try:
            with autocommit(engine) as connection:
                found = schema_version(connection)
        except Unavailable as error:
            if time.monotonic() - answered_at_s >= away_after_s:
                if isinstance(error, Refused):
                    raise
                say("the database is away; starting without a check of its schema")
                return
            reason = str(error) if isinstance(error, Refused) else "the database does not answer"
        else:
            answered_at_s = time.monotonic()
            reason = found.value
        if reason != last_said:
            say(reason)
            last_said = reason
        if reason in (SchemaVersion.CURRENT.value, SchemaVersion.AHEAD.value):
            return
        time.sleep(look_every_s)
