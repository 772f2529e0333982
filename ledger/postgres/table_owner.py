"""Table owner: tells whether the role of a connection owns the ledger's tables."""

from __future__ import annotations

from sqlalchemy import Connection, text

from ledger.postgres.schema import metadata

OWNER_WARNING = (
    "the application's role owns its tables, so a stolen password is enough to change or delete "
    "history: set DATABASE_URL to a role of its own, and MIGRATIONS_DATABASE_URL to the owner"
)


def owns_tables(connection: Connection) -> bool:
    """Return whether the role could change tables, triggers and constraints.

    So can their owner, a member of that role, and a superuser. False before the migrations.
    """
    return bool(connection.execute(_OWNS, {"names": list(metadata.tables)}).scalar_one())


_OWNS = text("""
    SELECT coalesce(bool_or(pg_has_role(relowner, 'MEMBER')), false)
    FROM unnest(CAST(:names AS text[])) AS name JOIN pg_class ON pg_class.oid = to_regclass(name)
""")
