"""How far the database's schema is, compared with what this version of the code knows.

Guarantees that looking changes nothing. A schema that is ahead is no fault: it is what a rollback
meets, and every old process that starts anew while a newer version is being rolled out.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from ledger.errors import Unavailable
from ledger.postgres.database import autocommit

AWAY_AFTER_S = 20.0
"""A database that has not answered for so long is away: what starts then lives through that."""
_LOOK_EVERY_S = 1.0


class SchemaVersion(enum.Enum):
    """Where the schema stands."""

    BEHIND = "the migrations have not run yet"
    CURRENT = "the database is up to date"
    AHEAD = "the database is ahead of this version, which works on it as it is"


def alembic_config() -> Config:
    """Where the migrations are and how they run."""
    return Config(Path(__file__).parent.parent / "alembic.ini")


def schema_version(connection: Connection) -> SchemaVersion:
    """Look where the schema stands. An empty database is behind."""
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
    """Return when the schema is at least this version's; who migrates is somebody else.

    Returns, too, when the database cannot be reached for `away_after_s`: the application takes
    transfers in without it, and to wait here would make an outage of it one of everything.
    Raises: LedgerError: when the database answers and cannot be asked.
    """
    answered_at_s = time.monotonic()
    said = None
    while True:
        try:
            with autocommit(engine) as connection:
                found = schema_version(connection)
        except Unavailable:
            if time.monotonic() - answered_at_s >= away_after_s:
                say("the database is away; going on without knowing its schema")
                return
            reason = "the database does not answer"
        else:
            answered_at_s = time.monotonic()
            reason = found.value
        if reason != said:
            say(reason)
            said = reason
        if reason in (SchemaVersion.CURRENT.value, SchemaVersion.AHEAD.value):
            return
        time.sleep(look_every_s)
