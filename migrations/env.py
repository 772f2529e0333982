"""Alembic environment: runs the migrations on the connection of migrations/__main__.py."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from ledger.postgres.database import build_engine
from ledger.postgres.schema import metadata
from settings import Settings


def run() -> None:
    """Migrate on the given connection, or on a new one when Alembic is run by hand."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _migrate(connection)
        return
    engine = build_engine(
        Settings.from_environment().migrations_database_url,
        application_name="migrations",
        statement_timeout_s=None,
    )
    with engine.begin() as own:
        _migrate(own)


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()


run()
