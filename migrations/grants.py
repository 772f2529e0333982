"""Grants: what the role that serves may do with each table, and nothing else.

The migrations run as the role that owns the tables, and the application as another. That one can
neither switch off a trigger nor drop a CHECK, and it cannot change or delete what is final: in the
tables of the money and of who may move it, it updates only the columns that move on. Every table
is listed here; a test compares the list with the schema. A grant that an older version needs
stays, as its column does: it may run beside this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import psycopg2
from psycopg2.extensions import parse_dsn
from sqlalchemy import Connection, text
from sqlalchemy.dialects import postgresql

from ledger.errors import Misconfigured

APPEND: Final = "SELECT, INSERT"
"""The history: a row is written once."""
CHANGE: Final = "SELECT, INSERT, UPDATE"
COME_AND_GO: Final = "SELECT, INSERT, DELETE"
REPLACE: Final = "SELECT, INSERT, UPDATE, DELETE"


def _only(privileges: str, *columns: str) -> str:
    """Return the privileges with UPDATE of these columns alone. To lock a row takes one column."""
    return privileges.replace("UPDATE", f"UPDATE ({', '.join(columns)})")


GRANTS: Final[Mapping[str, str]] = {
    "alembic_version": "SELECT",
    "api_keys": _only(CHANGE, "last_used_on", "prefix", "revoked_at"),
    "assets": APPEND,
    "blocked_wallets": COME_AND_GO,
    "clients": _only(CHANGE, "disabled_at", "enabled_at", "key_hash", "status"),
    "ended_counts": _only("SELECT, UPDATE", "count", "up_to"),
    "events": APPEND,
    "idempotency_keys": APPEND,
    "installation": "SELECT",
    "last_prices": _only(CHANGE, "as_of", "price"),
    "missing_requests": _only(REPLACE, "reported_at"),
    "outcomes": APPEND,
    "postings": APPEND,
    "read_positions": CHANGE,
    "reconciliation_findings": APPEND,
    "reconciliations": REPLACE,
    "recording_eras": "SELECT",
    "refused_requests": APPEND,
    "set_aside_entries": _only(REPLACE, "set_aside_at"),
    "standing_wrongs": _only(REPLACE, "last_found_in"),
    "transfers": APPEND,
    "unfinished": _only(
        REPLACE,
        "batch_id",
        "blocked_by",
        "credited_at",
        "deducted_at",
        "failure_code",
        "failure_detail",
        "moved_at",
        "redrives",
        "reserved_at",
        "state",
        "waits_for",
    ),
    "wallets": _only(
        CHANGE, "balance", "incoming", "metadata", "name", "posted_at", "reserved", "status"
    ),
}
"""The privileges of the role that serves, by table. Their identity columns need no grant."""

_quoted = postgresql.dialect().identifier_preparer.quote_identifier  # type: ignore[no-untyped-call]


def statements(role: str) -> Iterator[str]:
    """Return the SQL that gives the role these privileges and takes all others on the tables."""
    name = _quoted(role)
    yield f"REVOKE ALL ON {', '.join(GRANTS)} FROM {name}"
    for privileges in sorted(set(GRANTS.values())):
        tables = (table for table, granted in GRANTS.items() if granted == privileges)
        yield f"GRANT {privileges} ON {', '.join(tables)} TO {name}"


def serving_role(database_url: str, *, migrations_url: str) -> str | None:
    """Return the role of DATABASE_URL; None if it is the one that migrates.

    Raises: Misconfigured: when DATABASE_URL does not name its role.
    """
    if migrations_url == database_url:
        return None
    role = _user(database_url)
    if role is None:
        raise Misconfigured(
            "DATABASE_URL must name its role, as in postgresql://ROLE:PASSWORD@HOST/NAME, because "
            "MIGRATIONS_DATABASE_URL is given: the migrations grant this role what it needs."
        )
    return None if role == _user(migrations_url) else role


def grant(connection: Connection, role: str) -> None:
    """Give the role what it needs to serve, and nothing else. Harmless to repeat.

    Raises: Misconfigured: when there is no such role.
    """
    found = connection.execute(text("SELECT FROM pg_roles WHERE rolname = :role"), {"role": role})
    if found.one_or_none() is None:
        raise Misconfigured(
            f"The role {role} of DATABASE_URL does not exist: an administrator of the server makes "
            f"it with CREATE ROLE {_quoted(role)} LOGIN PASSWORD '...'."
        )
    for statement in statements(role):
        connection.execute(text(statement))


def _user(url: str) -> str | None:
    scheme, _, rest = url.partition("://")
    try:
        return parse_dsn(f"{scheme.partition('+')[0]}://{rest}").get("user")
    except psycopg2.ProgrammingError:
        raise Misconfigured("DATABASE_URL is not a valid PostgreSQL URL.") from None
