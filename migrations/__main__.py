"""Migration command: `python -m migrations` upgrades the database before anything else starts.

Upgrades to the newest schema as the role of MIGRATIONS_DATABASE_URL, which owns it, grants the
role of DATABASE_URL what it needs to serve, records INSTALLATION_ID in a database that has none,
and makes ADMIN_API_KEY the key of the first admin, in place of the one before. Safe to run again,
and safe to run in several places at once: a lock in the database makes them take turns. A schema
from a newer version is left as it is. The version before may go on writing meanwhile, see
`revisions`.

`--accept-server` tells all processes that a server of another cluster, or one that was replaced,
is the right one from now on. `--grants ROLE` only prints the grants, for an administrator who runs
them by hand. `--wait` changes nothing: it ends when another process has migrated, see
`schema_version`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text

from ledger.errors import LedgerError, Unaccepted, Unavailable
from ledger.keys.bootstrap import set_admin_key
from ledger.polling.eras import FEW_ACCEPTANCES, acceptances_left, begin_era_if_accepted
from ledger.postgres.database import build_engine
from ledger.postgres.installation import record_installation, refuse_other_installation
from migrations.grants import grant, serving_role, statements
from migrations.revisions import locked, migrate
from migrations.schema_version import SchemaVersion, wait_until_migrated
from settings import Settings, SettingsError

_IS_THERE = text("SELECT to_regclass(:table) IS NOT NULL")
_LAST_LOCK_WAIT_S = 30.0
_TRY_EVERY_S = 1.0
_LOOK_TIMEOUT_S = 2.0


def upgrade(
    engine: Engine,
    *,
    installation_id: str,
    admin_api_key: str | None,
    first_admin_only: bool = False,
    application_role: str | None = None,
    accepts_server: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> SchemaVersion:
    """Upgrade to the newest schema and set the first admin's key. Harmless when done already.

    application_role: the role that serves, if it is another than the engine's.
    accepts_server: take the server for the right one, although the database was copied to it.
    first_admin_only: make the admin only if there is none yet, as for a key that was generated.
    say: is given what has become of the key, and what a migration waits for.
    Returns: the version of the schema afterwards, which is never BEHIND.
    Raises: SettingsError: when the database belongs to another installation; nothing is changed.
    LockTimeout: when a migration does not get its locks; those before it have been applied.
    Unaccepted: when it was copied to this server, and an operator has yet to accept that; likewise.
    """
    with locked(engine) as connection:  # before anything is changed
        _refuse_wrong_database(connection, installation_id, accepts_server=accepts_server)
    found = migrate(engine, say=say)
    with locked(engine, lock_wait_s=_LAST_LOCK_WAIT_S) as connection:
        # A newer version that migrated has granted what both need.
        if application_role is not None and found is not SchemaVersion.AHEAD:
            grant(connection, application_role)
        record_installation(connection, installation_id)
        begin_era_if_accepted(connection, is_accepted=accepts_server)
        left = acceptances_left(connection)
        if admin_api_key:
            key = set_admin_key(connection, admin_api_key, is_generated=first_admin_only)
    if left <= FEW_ACCEPTANCES:
        say(
            f"another server can be accepted only {left} more times for this database: see "
            "docs/OPERATE.md, Several hosts"
        )
    if admin_api_key:  # said once it is committed
        say(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}: {key.value}")
    return found


def _refuse_wrong_database(
    connection: Connection, installation_id: str, *, accepts_server: bool
) -> None:
    """Refuse a database of another installation or server, as far as it knows where it belongs."""
    if connection.scalar(_IS_THERE, {"table": "installation"}):
        record_installation(connection, installation_id)
    if not accepts_server and connection.scalar(_IS_THERE, {"table": "recording_eras"}):
        begin_era_if_accepted(connection, is_accepted=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Migrate by the settings, or wait for another process to do it. Returns: the exit code."""
    options = _parser().parse_args(arguments)
    if options.grants:
        print(*(f"{statement};" for statement in statements(options.grants)), sep="\n")
        return 0
    try:
        settings = Settings.from_environment()
        migrations_url = settings.migrations_database_url
        role = serving_role(settings.database_url, migrations_url=migrations_url)
        engine = build_engine(
            settings.database_url if options.wait else migrations_url,
            application_name="migrations",
            pool_size=1,
            # A look at the schema is quick unless the server hangs; a migration may take long.
            statement_timeout_s=_LOOK_TIMEOUT_S if options.wait else None,
            accepts_any_server=options.accept_server,
        )
        if options.wait:
            wait_until_migrated(engine, say=_say)
            refuse_other_installation(settings.database_url, settings.installation_id)
        else:
            _say(
                _retry_while_away(
                    lambda: upgrade(
                        engine,
                        installation_id=settings.installation_id,
                        admin_api_key=settings.admin_api_key,
                        first_admin_only=options.first_admin_only,
                        say=_say,
                        application_role=role,
                        accepts_server=options.accept_server,
                    ),
                    patience_s=options.patience,
                ).value
            )
    except (SettingsError, LedgerError) as error:
        print(f"migrations: {error}", file=sys.stderr)
        return 1
    return 0


def _retry_while_away(migrate: Callable[[], SchemaVersion], *, patience_s: float) -> SchemaVersion:
    """Migrate, and try again for so long while the database is away. Harmless to repeat."""
    give_up_at_s = time.monotonic() + patience_s
    while True:
        try:
            return migrate()
        except Unavailable as error:
            if isinstance(error, Unaccepted) or time.monotonic() + _TRY_EVERY_S > give_up_at_s:
                raise
            time.sleep(_TRY_EVERY_S)


def _say(line: str) -> None:
    print(f"migrations: {line}", flush=True)


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < math.inf:  # NaN fails this test too: it would never end
        raise ValueError
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Upgrade the database to the newest schema.")
    parser.add_argument(
        "--wait", action="store_true", help="do not migrate: wait until another process has done it"
    )
    parser.add_argument(
        "--first-admin-only",
        action="store_true",
        help="make the admin of ADMIN_API_KEY only if the database has no admin yet",
    )
    parser.add_argument(
        "--accept-server",
        action="store_true",
        help="take this server for the right one, after a restore, an upgrade of PostgreSQL or a "
        "return to a server that was replaced; no other one may take writes any more",
    )
    parser.add_argument(
        "--grants",
        metavar="ROLE",
        help="do not migrate: print the SQL that grants a role what the application needs",
    )
    parser.add_argument(
        "--patience",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="how long to try again while the database cannot be reached",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
