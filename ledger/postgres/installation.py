"""Installation record: the INSTALLATION_ID that a database belongs to, in a table of one row.

Guarantees that processes of another installation are recognised. What is buffered while the
database is away has the id in its name on the broker: a process with another id would neither
see it nor drain it.
"""

from __future__ import annotations

from sqlalchemy import Connection, select, text
from sqlalchemy.dialects.postgresql import insert

from ledger.errors import LedgerError
from ledger.postgres.database import autocommit, build_engine
from ledger.postgres.schema import installation
from settings import SettingsError

_TIMEOUT_S = 2.0


def record_installation(connection: Connection, installation_id: str) -> None:
    """Record the id if the database has none yet. Harmless to repeat.

    Raises: SettingsError: when the database belongs to another installation.
    """
    connection.execute(insert(installation).values(id=installation_id).on_conflict_do_nothing())
    _require(connection, installation_id)


def refuse_other_installation(database_url: str, installation_id: str) -> None:
    """Check before a start that the database belongs to this installation, if it answers.

    Raises: SettingsError: when it belongs to another one.
    """
    engine = build_engine(
        database_url,
        application_name="truepenny-start",
        pool_size=0,  # nothing is left open for the fork
        statement_timeout_s=_TIMEOUT_S,
    )
    try:
        with autocommit(engine) as connection:
            # There is none before the migrations have run.
            if connection.scalar(text("SELECT to_regclass('installation')")) is not None:
                _require(connection, installation_id)
    except LedgerError:
        return  # it is away, or cannot be read: a start does not depend on it


def _require(connection: Connection, installation_id: str) -> None:
    found = connection.scalar(select(installation.c.id))
    if found not in (None, installation_id):
        raise SettingsError(
            f"INSTALLATION_ID is {installation_id!r}, but the database of DATABASE_URL belongs to "
            f"the installation {found!r}, whose buffered transfers this process would not see: "
            f"set INSTALLATION_ID={found}, or another DATABASE_URL"
        )
