"""Database schema: the rules that PostgreSQL itself enforces."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from ledger.errors import (
    LockTimeout,
    Misconfigured,
    Poisoned,
    StatementTimeout,
    Unavailable,
    Unreachable,
)
from ledger.ids import new_id
from ledger.postgres.database import autocommit, build_engine, transaction
from ledger.postgres.schema import metadata
from migrations.revisions import LOCK_KEY
from testing.bank import Bank
from testing.concurrent_transactions import wait_until_connected
from testing.identity import IDENTITY
from testing.servers.databases import as_owner
from testing.servers.shared import ROOT
from testing.servers.throwaway import as_owner as owner_url

NOT_MODELLED = {
    # Only the migrations define the rules; SQLAlchemy Core needs just the columns.
    "remove_index",
    "remove_constraint",
    "remove_fk",
    "add_fk",
}


def test_the_tables_that_the_code_knows_are_those_that_the_migrations_make(
    shared_bank: Bank,
) -> None:
    with shared_bank.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        found = list(_flat(compare_metadata(context, metadata)))
    assert [change for change in found if change[0] not in NOT_MODELLED] == []
    assert found, "the comparison does see the database"


def _flat(changes: list[Any]) -> list[Any]:
    return [
        change for entry in changes for change in (entry if isinstance(entry, list) else [entry])
    ]


@pytest.fixture(scope="module")
def history(shared_bank: Bank) -> Bank:
    """Make a bank in which every table has rows."""
    bank = shared_bank
    source, destination = bank.wallet(100), bank.wallet()
    batch = bank.reach("reserved", bank.request(source, destination, 1))
    with transaction(bank.engine) as connection:
        connection.execute(
            text("INSERT INTO events (transfer_id, event) VALUES (:id, 'e')"), {"id": new_id()}
        )
        connection.execute(text("SELECT :batch"), {"batch": str(batch)})
    return bank


@pytest.mark.parametrize(
    "table",
    ["transfers", "outcomes", "postings", "events", "assets", "reconciliation_findings"],
)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {table} SET {column} = {column}",
        "UPDATE {table} SET {column} = {column} WHERE false",
        "DELETE FROM {table}",
        "DELETE FROM {table} WHERE false",
        "TRUNCATE {table} CASCADE",
    ],
)
def test_final_rows_are_neither_changed_nor_deleted(
    history: Bank, table: str, statement: str
) -> None:
    column = {
        "events": "event",
        "assets": "scale",
        "outcomes": "state",
        "reconciliation_findings": "detail",
    }.get(table, "amount")
    refused(history, statement.format(table=table, column=column), "are final")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM wallets",
        "DELETE FROM wallets WHERE balance = 0",
        "TRUNCATE wallets CASCADE",
        "DELETE FROM clients",
        "TRUNCATE clients CASCADE",
        "DELETE FROM api_keys",
        "TRUNCATE api_keys",
        "UPDATE api_keys SET client_id = client_id",
        "UPDATE api_keys SET scope = 'write'",
        "UPDATE api_keys SET expires_at = NULL",
        "UPDATE wallets SET owner_id = NULL",
        "UPDATE wallets SET asset = 'EUR'",
        "UPDATE wallets SET kind = 'external'",
        "UPDATE wallets SET id = gen_random_uuid()",
        "UPDATE wallets SET external_id = NULL",
        "UPDATE idempotency_keys SET key = key",
        "DELETE FROM idempotency_keys",
        "TRUNCATE idempotency_keys",
    ],
)
def test_a_wallet_and_its_owner_stay_and_a_wallet_stays_what_it_is(
    history: Bank, statement: str
) -> None:
    refused(history, statement, "are final")


def test_an_upsert_changes_nothing_that_is_final_either(history: Bank) -> None:
    for table, column in (("transfers", "id"), ("postings", "transfer_id, leg")):
        refused(
            history,
            f"""INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {table} LIMIT 1
                ON CONFLICT ({column}) DO UPDATE SET amount = 1""",  # noqa: S608 - our own words
            "are final",
        )


WALLET = "UPDATE wallets SET {} WHERE id = :source"
TRANSFER = """INSERT INTO transfers (id, client_id, idempotency_key, fingerprint, source_id,
              destination_id, asset, amount, capture)
              SELECT gen_random_uuid(), client_id, 'k', '', source_id, {}, asset, {}, '{}'
              FROM transfers LIMIT 1"""
UNFINISHED = "UPDATE unfinished SET {}"
OUTCOME = """INSERT INTO outcomes (transfer_id, state, failure_code, failure_detail,
             reserved_at, deducted_at, credited_at) VALUES (gen_random_uuid(), {})"""
POSTING = """INSERT INTO postings (transfer_id, leg, debit_wallet_id, credit_wallet_id, amount,
             debit_balance_after, credit_balance_after, created_at)
             VALUES (gen_random_uuid(), {}, 0, 0, now())"""
PRICE = "INSERT INTO last_prices VALUES ({}, now())"
RUN = """INSERT INTO reconciliations (id, is_full, phase, horizon, trigger, state, finished_at)
         VALUES (gen_random_uuid(), true, 'wallets', now(), {})"""
ONE = "'operator', 'running', NULL"
FINDING = """INSERT INTO reconciliation_findings (reconciliation_id, kind, detail, action)
             SELECT {}, 'k', 'd', {}"""
ASIDE = "INSERT INTO set_aside_entries (digest, size_bytes, reason, content) VALUES ('', 0, {})"
NEW_WALLET = "INSERT INTO wallets (id, asset, kind) VALUES (gen_random_uuid(), {})"


BROKEN_RULES = [
    (WALLET.format("balance = -1"), "wallets_no_overdraft"),
    (WALLET.format("reserved = balance + 1"), "wallets_no_overdraft"),
    (WALLET.format("incoming = balance + 1"), "wallets_no_overdraft"),
    (WALLET.format("reserved = -1"), "wallets_reserved_not_negative"),
    (WALLET.format("incoming = -1"), "wallets_incoming_not_negative"),
    (WALLET.format("status = 'closed'"), "wallets_closed_is_empty"),
    (WALLET.format("status = 'gone'"), "wallets_status"),
    (NEW_WALLET.format("'USD', 'other'"), "wallets_kind"),
    (NEW_WALLET.format("'USD', 'transit'"), "wallets_one_transit_per_asset"),
    (NEW_WALLET.format("'XXX', 'customer'"), "wallets_asset_fkey"),
    (
        """INSERT INTO wallets (id, owner_id, asset, kind)
           VALUES (gen_random_uuid(), gen_random_uuid(), 'USD', 'customer')""",
        "wallets_owner_id_fkey",
    ),
    (TRANSFER.format("gen_random_uuid()", "1", "auto"), "transfers_destination"),
    (
        TRANSFER.format("destination_id, 'EUR', 1, 'auto' --", "1", "auto"),
        "transfers_source",
    ),
    (TRANSFER.format("destination_id", "0", "auto"), "transfers_amount_positive"),
    (TRANSFER.format("destination_id", "-1", "auto"), "transfers_amount_positive"),
    (TRANSFER.format("source_id", "1", "auto"), "transfers_two_wallets"),
    (TRANSFER.format("destination_id", "1", "later"), "transfers_capture"),
    (
        "INSERT INTO transfers OVERRIDING SYSTEM VALUE SELECT * FROM transfers LIMIT 1",
        "transfers_pkey",
    ),
    (UNFINISHED.format("state = 'committed'"), "unfinished_state"),
    (UNFINISHED.format("batch_id = NULL"), "unfinished_driven"),
    (UNFINISHED.format("failure_code = 'x'"), "unfinished_failure"),
    (UNFINISHED.format("failure_detail = 'x'"), "unfinished_failure"),
    (UNFINISHED.format("reserved_at = NULL"), "unfinished_times"),
    (UNFINISHED.format("deducted_at = now()"), "unfinished_times"),
    (UNFINISHED.format("credited_at = now()"), "unfinished_times"),
    (UNFINISHED.format("state = 'deducted'"), "unfinished_times"),
    (UNFINISHED.format("state = 'accepted'"), "unfinished_times"),
    (OUTCOME.format("'reserved', 'c', 'd', now(), now(), now()"), "outcomes_state"),
    (OUTCOME.format("'committed', 'c', 'd', now(), now(), now()"), "outcomes_failure"),
    (OUTCOME.format("'rejected', NULL, NULL, NULL, NULL, NULL"), "outcomes_failure"),
    (OUTCOME.format("'rejected', 'c', NULL, NULL, NULL, NULL"), "outcomes_failure"),
    (OUTCOME.format("'rolled_back', NULL, NULL, now(), NULL, NULL"), "outcomes_failure"),
    (OUTCOME.format("'committed', NULL, NULL, now(), now(), NULL"), "outcomes_times"),
    (OUTCOME.format("'rejected', 'c', 'd', now(), NULL, NULL"), "outcomes_times"),
    (OUTCOME.format("'rolled_back', 'c', 'd', NULL, NULL, NULL"), "outcomes_times"),
    ("INSERT INTO outcomes SELECT * FROM outcomes LIMIT 1", "outcomes_pkey"),
    (POSTING.format("'other', :source, :destination, 1"), "postings_leg"),
    (POSTING.format("'credit', :source, :destination, 0"), "postings_amount_positive"),
    (POSTING.format("'credit', :source, :destination, -1"), "postings_amount_positive"),
    (POSTING.format("'credit', :source, :source, 1"), "postings_two_wallets"),
    (
        """INSERT INTO postings OVERRIDING SYSTEM VALUE SELECT * FROM postings LIMIT 1""",
        "postings_pkey",
    ),
    (
        "INSERT INTO clients (id, name, scope, key_hash) VALUES (gen_random_uuid(), '', 'x', '')",
        "clients_scope",
    ),
    ("UPDATE clients SET key_hash = 'the same'", "clients_key_hash"),
    ("UPDATE clients SET status = 'gone'", "clients_status"),
    ("UPDATE clients SET status = 'disabled'", "clients_disabled_has_time"),
    (
        "UPDATE clients SET is_bootstrap = true WHERE scope = 'client'",
        "clients_bootstrap_is_admin",
    ),
    ("UPDATE clients SET scope = 'admin', is_bootstrap = true", "clients_one_bootstrap"),
    (
        """INSERT INTO api_keys (id, client_id, scope, key_hash)
           VALUES (gen_random_uuid(), gen_random_uuid(), 'read', 'x')""",
        "api_keys_client_id_fkey",
    ),
    (
        """INSERT INTO api_keys (id, client_id, scope, key_hash)
           SELECT gen_random_uuid(), client_id, scope, key_hash FROM api_keys LIMIT 1""",
        "api_keys_hash",
    ),
    (
        """INSERT INTO api_keys (id, client_id, scope, key_hash)
           SELECT gen_random_uuid(), id, 'admin', 'x' FROM clients LIMIT 1""",
        "api_keys_scope",
    ),
    (
        """INSERT INTO wallets (id, owner_id, asset, kind, external_id)
           SELECT gen_random_uuid(), owner_id, asset, kind, 'x' FROM wallets, (VALUES (1), (2)) two
           WHERE id = :source""",
        "wallets_one_external_id_per_owner",
    ),
    (
        "INSERT INTO idempotency_keys VALUES (gen_random_uuid(), 'k', 'k', '', gen_random_uuid())",
        "idempotency_keys_client",
    ),
    ("INSERT INTO assets VALUES ('usd', 2)", "assets_code_check"),
    ("INSERT INTO assets VALUES ('XXXX', 19)", "assets_scale_check"),
    (RUN.format("'nobody', 'running', NULL"), "reconciliations_trigger"),
    (RUN.format("'operator', 'done', now()"), "reconciliations_state"),
    (RUN.format("'operator', 'finished', NULL"), "reconciliations_ended"),
    (f"{RUN.format(ONE)}; {RUN.format(ONE)}", "reconciliations_one_running"),
    (FINDING.format("gen_random_uuid()", "'alarmed'"), "reconciliation_findings_run"),
    (FINDING.format("gen_random_uuid()", "'ignored'"), "reconciliation_findings_action"),
    (PRICE.format("'btcusdt', 1"), "last_prices_symbol"),
    (PRICE.format("'BTCUSDT', 0"), "last_prices_positive"),
    (PRICE.format("'BTCUSDT', -1"), "last_prices_positive"),
    (PRICE.format("'BTCUSDT', 'NaN'"), "last_prices_positive"),
    (PRICE.format("'BTCUSDT', 'Infinity'"), "last_prices_positive"),
    ("INSERT INTO ended_counts VALUES ('accepted', 0, now())", "ended_counts_state"),
    ("UPDATE ended_counts SET count = -1", "ended_counts_not_negative"),
    (ASIDE.format("'odd', ''"), "set_aside_entries_reason"),
    (ASIDE.format("'unsigned', convert_to(repeat('x', 32769), 'UTF8')"), "set_aside_entries_size"),
    ("INSERT INTO installation (id) VALUES ('another')", "installation_pkey"),
    ("INSERT INTO installation VALUES (false, 'another')", "installation_one_row"),
]


@pytest.mark.parametrize(("statement", "constraint"), BROKEN_RULES)
def test_a_row_that_breaks_a_rule_is_refused_by_name(
    history: Bank, statement: str, constraint: str
) -> None:
    refused(history, statement, constraint)


def test_every_rule_of_the_database_has_its_broken_row_above(shared_bank: Bank) -> None:
    query = """
        SELECT conname FROM pg_constraint
        WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace
        UNION SELECT indexrelid::regclass::text FROM pg_index
        WHERE indisunique AND NOT indisprimary AND indrelid::regclass::text NOT LIKE 'pg_%'"""
    with autocommit(shared_bank.engine) as connection:
        rules = set(connection.scalars(text(query)))
    no_rule_any_more = {"wallets_id_and_asset"}
    of_a_trigger = {"transfers_source", "transfers_destination"}
    assert rules - no_rule_any_more | of_a_trigger == {
        name for _, name in BROKEN_RULES if not name.endswith("_pkey")
    }


def test_a_second_outcome_for_a_transfer_is_impossible(shared_bank: Bank) -> None:
    bank = shared_bank
    source, destination = bank.wallet(100), bank.wallet()
    batch = bank.reach("credited", bank.request(source, destination, 1))
    with transaction(bank.engine) as connection:
        connection.execute(
            text("""INSERT INTO outcomes (transfer_id, state, failure_code, failure_detail)
                    SELECT transfer_id, 'rejected', 'c', 'd' FROM unfinished
                    WHERE batch_id = :batch"""),
            {"batch": batch},
        )
    with pytest.raises(Poisoned):
        bank.step("commit", batch)
    assert bank.look(destination).incoming == 1


def test_a_second_posting_of_a_leg_is_impossible(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    batch = bank.reach("deducted", bank.request(source, destination, 1))
    with transaction(bank.engine) as connection:
        connection.execute(
            text("UPDATE unfinished SET state = 'reserved', deducted_at = NULL"),
        )
        connection.execute(
            text("UPDATE wallets SET reserved = 1 WHERE id = :id"), {"id": source.id}
        )
    with pytest.raises(Poisoned):
        bank.step("deduct", batch)
    assert bank.look(source).balance == 99


@pytest.mark.parametrize(
    ("statement", "meaning"),
    [
        ("SELECT 1 / 0", Poisoned),
        ("SELECT 'x'::integer", Poisoned),
        ("SELECT 10::numeric(1, 0)", Poisoned),
        ("UPDATE wallets SET reserved = -1", Poisoned),
        ("DO $$ BEGIN RAISE EXCEPTION 'no'; END $$", Poisoned),
        ("SELECT no_such_column FROM wallets", Misconfigured),
        ("SELECT * FROM no_such_table", Misconfigured),
        ("SELECT", None),
        ("SELEKT", Misconfigured),
        ("CREATE ROLE somebody SUPERUSER", Misconfigured),
        ("SET statement_timeout = 1; SELECT pg_sleep(1)", StatementTimeout),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'lock_not_available'; END $$", LockTimeout),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Unreachable),
        ("SET TRANSACTION READ ONLY; CREATE TABLE t ()", Unreachable),
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'serialization_failure'; END $$",
            Unavailable,
        ),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'deadlock_detected'; END $$", Unavailable),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$", Unreachable),
    ],
)
def test_a_database_error_is_translated_into_its_meaning(
    shared_bank: Bank, statement: str, meaning: type[Exception] | None
) -> None:
    bank = shared_bank
    if meaning is None:
        with transaction(bank.engine) as connection:
            connection.execute(text(statement))
        return
    with pytest.raises(meaning) as caught, transaction(bank.engine) as connection:
        connection.execute(text(statement))
    assert type(caught.value) is meaning
    assert statement not in str(caught.value)


def test_a_database_that_is_not_there_is_unreachable(own_database_url: str) -> None:
    for wrong in (":1/", ":65000/"):
        address = own_database_url.rsplit(":", 1)
        engine = build_engine(
            address[0] + wrong + address[1].partition("/")[2], application_name="test"
        )
        with pytest.raises(Unreachable), transaction(engine) as connection:
            connection.execute(text("SELECT 1"))
        engine.dispose()


def test_a_lock_that_is_not_free_in_time_is_unavailable(bank: Bank) -> None:
    wallet = bank.wallet()
    change = text("UPDATE wallets SET name = 'x' WHERE id = :id")
    with transaction(bank.engine) as first:
        first.execute(change, {"id": wallet.id})
        with pytest.raises(Unavailable), transaction(bank.engine) as second:
            second.execute(text("SET LOCAL lock_timeout = 50; " + change.text), {"id": wallet.id})


def test_migrations_that_run_at_once_and_again_make_one_database(template_url: str) -> None:
    name = f"truepenny_migrated_{os.getpid()}"
    on_server(template_url, f"CREATE DATABASE {name}")
    url = make_url(owner_url(template_url)).set(database=name).render_as_string(hide_password=False)
    environment = {
        **os.environ,
        **IDENTITY,
        "DATABASE_URL": url,
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "CACHE_URL": "redis://127.0.0.1:1/0",
        "ADMIN_API_KEY": "the-same-for-all",
    }
    command = [sys.executable, "-m", "migrations"]
    engine = build_engine(url, application_name="test")
    with transaction(engine) as connection:  # so that all three surely meet
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        running = [subprocess.Popen(command, cwd=ROOT, env=environment) for _ in range(3)]
        wait_until_connected(engine, "migrations", sessions=3)
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0
    with autocommit(engine) as connection:
        counts = connection.execute(
            text("""SELECT (SELECT count(*) FROM alembic_version), (SELECT count(*) FROM assets),
                    (SELECT count(*) FROM wallets), (SELECT count(*) FROM clients)""")
        ).one()
    engine.dispose()
    on_server(template_url, f"DROP DATABASE {name} WITH (FORCE)")
    assert tuple(counts) == (1, 6, 6, 1)


def on_server(url: str, statement: str) -> None:
    address = make_url(owner_url(url)).set(drivername="postgresql+psycopg2")
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def refused(bank: Bank, statement: str, why: str) -> None:
    parties = dict(zip(("source", "destination"), ends(bank), strict=True))
    with (
        pytest.raises((IntegrityError, DBAPIError), match=why) as caught,
        as_owner(bank.engine) as connection,  # the role that serves is refused before the rules are
    ):
        connection.execute(text(statement), parties if ":source" in statement else {})
    assert caught.value.orig is not None
    assert str(caught.value.orig.pgcode).startswith("23")  # type: ignore[attr-defined]


def ends(bank: Bank) -> tuple[object, object]:
    with bank.engine.connect() as connection:
        row = connection.execute(
            text("SELECT source_id, destination_id FROM unfinished LIMIT 1")
        ).one()
    return (row.source_id, row.destination_id)
