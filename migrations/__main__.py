"""Bring the database up to date: `python -m migrations`, before anything else starts.

Upgrades to the newest schema and makes sure that the admin of ADMIN_API_KEY exists. Safe to
run again, and safe to run from several places at once: a lock in the database lines them up.
"""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from ledger.clients import ensure_admin
from ledger.database import build_engine, transaction
from ledger.errors import LedgerError
from settings import Settings, SettingsError

_LOCK_KEY = 0x7472_7565_7065_6E6E
"""Any number of ours; this one spells "truepenn"."""


def upgrade(engine: Engine, *, admin_api_key: str | None) -> None:
    """Migrate to the newest schema and make the first admin. Harmless when done already."""
    config = Config(Path(__file__).parent.parent / "alembic.ini")
    with transaction(engine) as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if admin_api_key:
            ensure_admin(connection, admin_api_key)


def main() -> int:
    """Migrate as the settings say. Returns: the exit code."""
    try:
        settings = Settings.from_environment()
        engine = build_engine(
            settings.database_url,
            application_name="migrations",
            pool_size=1,
            statement_timeout_s=None,
        )
        upgrade(engine, admin_api_key=settings.admin_api_key)
    except (SettingsError, LedgerError) as error:
        print(f"migrations: {error}", file=sys.stderr)
        return 1
    print("migrations: the database is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
