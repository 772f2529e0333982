"""Migrations beside the released version, which goes on writing: nobody waits for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, text

from ledger.errors import LockTimeout
from ledger.postgres.database import autocommit, transaction
from migrations.__main__ import upgrade
from migrations.revisions import LOCK_KEY
from migrations.schema_version import SchemaVersion, alembic_config
from testing.concurrent_transactions import wait_until_blocked
from testing.identity import IDENTITY
from testing.servers.databases import empty_database

RELEASED = "0005"
LONGEST_WAIT_S = 1.5
"""Under a second, where no other tests run beside."""
READ_S = 2.5

BOOK = """
INSERT INTO clients (id, name, scope, key_hash) VALUES (gen_random_uuid(), 'a', 'client', 'a');
INSERT INTO wallets (id, owner_id, asset, kind, balance)
    SELECT gen_random_uuid(), clients.id, 'USD', 'customer', 1000000
    FROM clients, generate_series(1, 1000);
INSERT INTO transfers (id, client_id, idempotency_key, fingerprint, source_id, destination_id,
                       asset, amount)
    SELECT gen_random_uuid(), source.owner_id, n, '', source.id, destination.id, 'USD', 1
    FROM generate_series(1, 20) n, wallets source, (
        SELECT id FROM wallets WHERE kind = 'customer' ORDER BY id LIMIT 1) destination
    WHERE source.id <> destination.id AND source.kind = 'customer';
"""
# As the released version accepts a transfer, moves money, and ends it.
WRITE = """
WITH pair AS (
    SELECT min(id::text)::uuid AS source, max(id::text)::uuid AS destination
    FROM wallets WHERE kind = 'customer'
),
accepted AS (
    INSERT INTO transfers (id, client_id, idempotency_key, fingerprint, source_id, destination_id,
                           asset, amount)
    SELECT gen_random_uuid(), clients.id, 'k', '', source, destination, 'USD', 1 FROM pair, clients
    RETURNING id, source_id, destination_id
)
INSERT INTO unfinished (transfer_id, source_id, transit_id, destination_id, amount)
    SELECT id, source_id, source_id, destination_id, 1 FROM accepted;
UPDATE wallets SET balance = balance - 1 WHERE id = (SELECT source_id FROM unfinished LIMIT 1);
UPDATE wallets SET balance = balance + 1 WHERE id = (SELECT destination_id FROM unfinished LIMIT 1);
DELETE FROM unfinished;
"""
READ = "SELECT (SELECT count(*) FROM transfers), (SELECT count(*) FROM wallets)"
HALF = text("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
BUILT = ("transfers_by_recording", "wallets_one_external_id_per_owner")


@pytest.fixture
def released(template_url: str) -> Iterator[Engine]:
    """Make a database as the released version left it, with a book. Yields: its owner's engine."""
    with empty_database(template_url) as engine:
        migrate_to(engine, RELEASED)
        with transaction(engine) as connection:
            connection.execute(text(BOOK))
        yield engine


def migrate_to(engine: Engine, revision: str) -> None:
    config = alembic_config()
    with transaction(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def migrate(engine: Engine) -> None:
    found = upgrade(engine, installation_id=IDENTITY["INSTALLATION_ID"], admin_api_key=None)
    assert found is SchemaVersion.CURRENT


def half_indexes(engine: Engine) -> list[str]:
    with autocommit(engine) as connection:
        return list(connection.scalars(HALF))


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Repeat the work in a thread, for as long as the block runs."""
    is_over = threading.Event()

    def repeat() -> None:
        while not is_over.is_set():
            work()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(repeat)
        try:
            yield
        finally:
            is_over.set()
        running.result(30)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Keep a snapshot of the large tables for the block, as a report or a dump does."""
    with transaction(engine) as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; " + READ))
        yield connection


def test_a_writer_of_the_released_version_never_waits_for_long(released: Engine) -> None:
    waits_s: list[float] = []

    def write() -> None:
        began_s = time.monotonic()
        with transaction(released) as connection:
            connection.execute(text(WRITE))
        waits_s.append(time.monotonic() - began_s)
        time.sleep(0.01)

    def read() -> None:
        with reading(released):
            time.sleep(READ_S)
        time.sleep(0.5)

    with meanwhile(read), meanwhile(write):
        time.sleep(0.2)
        migrate(released)
    assert len(waits_s) > 20
    assert max(waits_s) < LONGEST_WAIT_S, sorted(waits_s)[-10:]
    assert half_indexes(released) == []
    with autocommit(released) as connection:
        for name in BUILT:
            assert connection.scalar(text("SELECT to_regclass(:name)"), {"name": name})
        orders = connection.execute(
            text("SELECT count(*) FILTER (WHERE recorded_order = 0), count(*) FROM transfers")
        ).one()
    assert 0 < orders[0] <= orders[1]


def test_half_an_index_of_an_attempt_that_was_interrupted_is_built_again(
    released: Engine,
) -> None:
    migrate_to(released, "0017")

    def build() -> None:
        index = "transfers_by_recording ON transfers (recorded_order)"
        with autocommit(released) as connection:
            connection.execute(text("SET lock_timeout = '300ms'"))
            connection.execute(text(f"CREATE INDEX CONCURRENTLY {index}"))

    with reading(released), pytest.raises(LockTimeout):
        build()
    assert half_indexes(released) == ["transfers_by_recording"]
    migrate(released)
    assert half_indexes(released) == []


def test_a_migration_of_the_version_before_that_waits_for_its_turn_blocks_no_index(
    released: Engine,
) -> None:
    """Its wait keeps a snapshot, for whose end a concurrent build waits, which holds the lock."""
    migrate_to(released, "0017")

    def take_turn() -> None:
        with transaction(released) as connection:
            connection.execute(
                text("SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(:key)"),
                {"key": LOCK_KEY},
            )

    with ThreadPoolExecutor(2) as pool:
        with reading(released):
            new = pool.submit(migrate, released)
            wait_until_blocked(released)  # the build waits for the reader
            old = pool.submit(take_turn)
            wait_until_blocked(released, transactions=2)
        new.result(60)
        gave_way = old.exception(60)  # then it is started again
        assert gave_way is None or "40P01" in str(gave_way)
    assert half_indexes(released) == []


def test_two_that_migrate_at_once_take_turns(released: Engine) -> None:
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(migrate, released) for _ in range(3)]:
            done.result(60)


def test_a_lock_that_never_comes_free_ends_the_attempt_and_the_next_one_goes_on(
    released: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrations.revisions.GIVE_UP_AFTER_S", 1.0)
    said: list[str] = []
    with reading(released), pytest.raises(LockTimeout, match="Migration 0008 did not get"):
        upgrade(
            released,
            installation_id=IDENTITY["INSTALLATION_ID"],
            admin_api_key=None,
            say=said.append,
        )
    assert said == ["migration 0008 waits until other sessions of the database release a lock"]
    migrate(released)


def test_another_process_that_never_ends_its_migration_is_not_waited_for_without_end(
    released: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrations.revisions.GIVE_UP_AFTER_S", 1.0)
    with transaction(released) as other:
        other.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        with pytest.raises(LockTimeout, match="Another process"):
            upgrade(released, installation_id=IDENTITY["INSTALLATION_ID"], admin_api_key=None)
    upgrade(released, installation_id=IDENTITY["INSTALLATION_ID"], admin_api_key=None)
