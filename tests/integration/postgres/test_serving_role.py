"""The role that serves: it moves money, and cannot change what is final nor the rules."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import text

from ledger.errors import Misconfigured
from ledger.postgres.database import autocommit, transaction
from ledger.postgres.schema import metadata
from migrations.grants import GRANTS
from migrations.schema_version import SchemaVersion, schema_version
from stack.servers.server import running
from testing.bank import Bank
from testing.identity import IDENTITY
from testing.servers.databases import engine_on
from testing.servers.own_servers import own_servers
from testing.servers.shared import ROOT
from testing.servers.throwaway import as_owner


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE postings DISABLE TRIGGER postings_append_only",
        "ALTER TABLE postings DISABLE TRIGGER ALL",
        "DROP TRIGGER postings_append_only ON postings",
        "ALTER FUNCTION refuse_change() OWNER TO CURRENT_USER",
        "DROP FUNCTION refuse_change() CASCADE",
        "ALTER TABLE wallets DROP CONSTRAINT wallets_no_overdraft",
        "ALTER TABLE wallets ADD COLUMN more text",
        "ALTER TABLE wallets OWNER TO CURRENT_USER",
        "UPDATE postings SET amount = 1",
        "UPDATE transfers SET amount = 1",
        "UPDATE outcomes SET state = 'rejected'",
        "UPDATE assets SET scale = 3",
        "UPDATE wallets SET kind = 'external'",
        "UPDATE wallets SET owner_id = id",
        "UPDATE wallets SET external_id = 'taken'",
        "UPDATE wallets SET created_at = now()",
        "UPDATE unfinished SET amount = 1",
        "UPDATE unfinished SET source_id = destination_id",
        "UPDATE unfinished SET destination_id = source_id",
        "UPDATE unfinished SET transit_id = source_id",
        "UPDATE unfinished SET turn = transfer_id",
        "UPDATE clients SET scope = 'admin'",
        "UPDATE clients SET rate_limit = 'none'",
        "UPDATE clients SET item_limit = 'none'",
        "UPDATE clients SET is_bootstrap = true",
        "UPDATE api_keys SET client_id = id",
        "UPDATE api_keys SET scope = 'write'",
        "UPDATE api_keys SET key_hash = '\\x00'",
        "UPDATE api_keys SET expires_at = NULL",
        "UPDATE api_keys SET is_bootstrap = true",
        "UPDATE set_aside_entries SET content = '\\x00'",
        "UPDATE missing_requests SET noticed_at = now()",
        "UPDATE standing_wrongs SET key = ''",
        "UPDATE ended_counts SET state = 'rejected'",
        "UPDATE alembic_version SET version_num = '0001'",
        "DELETE FROM postings",
        "DELETE FROM transfers",
        "DELETE FROM outcomes",
        "DELETE FROM wallets",
        "DELETE FROM clients",
        "TRUNCATE postings",
        "TRUNCATE unfinished",
        "DROP TABLE postings",
        "CREATE TABLE more (id integer)",
        "CREATE SCHEMA more",
        "CREATE TRIGGER more BEFORE INSERT ON postings EXECUTE FUNCTION refuse_change()",
        "CREATE INDEX more ON postings (amount)",
        "SET session_replication_role = replica",
        "SET ROLE truepenny",
        "CREATE ROLE more",
    ],
)
def test_the_role_that_serves_is_refused(shared_bank: Bank, statement: str) -> None:
    with (
        pytest.raises(Misconfigured, match="42501"),
        transaction(shared_bank.engine) as connection,
    ):
        connection.execute(text(statement))


def test_the_role_that_serves_has_what_the_list_grants_and_nothing_else(shared_bank: Bank) -> None:
    query = text("""
        SELECT relname, array_to_string(ARRAY(
            SELECT CASE WHEN has_table_privilege(pg_class.oid, privilege) THEN privilege
                ELSE privilege || columns END
            FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE',
                              'REFERENCES', 'TRIGGER']) AS privilege,
                LATERAL (
                    SELECT ' (' || string_agg(attname, ', ' ORDER BY attname) || ')'
                    FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0
                        AND NOT attisdropped AND privilege NOT IN ('DELETE', 'TRUNCATE', 'TRIGGER')
                        AND has_column_privilege(attrelid, attnum, privilege)
                ) AS granted (columns)
            WHERE has_table_privilege(pg_class.oid, privilege) OR columns IS NOT NULL), ', ')
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')""")
    with autocommit(shared_bank.engine) as connection:
        assert dict(connection.execute(query).all()) == GRANTS


def test_every_table_has_its_grant() -> None:
    assert metadata.tables.keys() | {"alembic_version"} == GRANTS.keys()


def test_the_grants_can_be_printed_for_an_administrator() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "migrations", "--grants", "my app"],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert all(line.endswith(' "my app";') for line in lines)
    assert lines[0].startswith("REVOKE ALL ON alembic_version, ")
    assert sum(line.startswith("GRANT ") for line in lines) == len(set(GRANTS.values()))


def migrations(url: str, owner_url: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run them. url: DATABASE_URL, of the role that is to serve."""
    return subprocess.run(
        [sys.executable, "-m", "migrations", *options],
        cwd=ROOT,
        env={
            **IDENTITY,
            "DATABASE_URL": url,
            "MIGRATIONS_DATABASE_URL": owner_url,
            "BROKER_URL": "redis://127.0.0.1:1/0",
            "CACHE_URL": "redis://127.0.0.1:1/0",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("nobody_such@", "The role nobody_such of DATABASE_URL does not exist"),
        ("", "DATABASE_URL must name its role"),
    ],
)
def test_a_role_that_cannot_be_granted_anything_is_one_clear_line(
    own_database_url: str, user: str, why: str
) -> None:
    server = own_database_url.partition("@")[2]
    wrong = f"postgresql://{user}{server}"
    done = migrations(wrong, as_owner(own_database_url))
    assert done.returncode == 1
    assert done.stderr.startswith(f"migrations: {why}")
    assert done.stderr.count("\n") == 1


def test_a_database_whose_application_was_its_owner_is_taken_over(servers_folder: Path) -> None:
    """As an earlier version left it: one role, which owns everything and has moved money."""
    servers = own_servers(servers_folder)
    postgres, log = servers.postgres(), servers.home.data / "postgres.log"
    with running(postgres, log=log):
        assert migrations(postgres.owner_url, postgres.owner_url).returncode == 0
        with closing(psycopg2.connect(postgres.superuser_url)) as connection:
            connection.cursor().execute("DROP OWNED BY truepenny_app; DROP ROLE truepenny_app")
            connection.commit()
        with engine_on(postgres.owner_url) as engine:
            before = Bank(engine)
            source, destination = before.wallet(100), before.wallet()
    with running(postgres, log=log):
        with engine_on(postgres.url) as engine, autocommit(engine) as connection:
            assert schema_version(connection) is SchemaVersion.BEHIND
        done = migrations(postgres.url, postgres.owner_url)
        assert done.returncode == 0, done.stderr
        waited = migrations(postgres.url, postgres.owner_url, "--wait")
        assert waited.stdout == "migrations: the database is up to date\n"
        with engine_on(postgres.url) as engine:
            bank = Bank(engine)
            bank.accept(bank.request(source, destination, 60, client=before.client))
            bank.settle()
            assert bank.look(destination).balance == 60
            with pytest.raises(Misconfigured), transaction(engine) as connection:
                connection.execute(text("ALTER TABLE postings DISABLE TRIGGER ALL"))
