"""Commit gate: stops a step inside the database just before its commit.

The test installs a deferred trigger that asks for a lock which the test holds. So a process stops
at an exact point, without any change to its code, and the test can kill it there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread

from sqlalchemy import Connection, Engine, text

from testing.servers.databases import owner_engine

_KEY = 4_242_001

_WATCHED = {
    "accept": ("transfers", "INSERT", "true"),
    "reserve": ("unfinished", "UPDATE", "NEW.state = 'reserved' AND OLD.state = 'accepted'"),
    "deduct": ("unfinished", "UPDATE", "NEW.state = 'deducted' AND OLD.state = 'reserved'"),
    "credit": ("unfinished", "UPDATE", "NEW.state = 'credited' AND OLD.state = 'deducted'"),
    "commit": ("outcomes", "INSERT", "NEW.state = 'committed'"),
    "rollback": ("outcomes", "INSERT", "NEW.state = 'rolled_back'"),
}


@dataclass
class CommitGate:
    """Closed until `open`: until then, all who ask for its lock wait."""

    connection: Connection
    watcher: Connection
    key: int = _KEY
    closing: Thread | None = None
    """Waits for the lock, so that the gate closes."""

    def is_closed(self) -> bool:
        return self.closing is None or not self.closing.is_alive()

    def waiting(self) -> list[int]:
        """Return the ids of the server processes that wait at the gate."""
        query = text(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND CAST(classid AS bigint) << 32 | CAST(objid AS bigint) = :key"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return list(self.watcher.scalars(query, {"key": self.key}))

    def cut_off(self) -> None:
        """End the transactions that wait, as the server does when their client is gone."""
        for pid in self.waiting():
            self.watcher.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    def open(self) -> None:
        self.connection.execute(text("SELECT pg_advisory_unlock_all()"))


@contextmanager
def gate_before_commit_of(engine: Engine, step: str) -> Iterator[CommitGate]:
    """Install the gate for one step, closed. Opened and removed at the end."""
    table, event, condition = _WATCHED[step]
    with (
        owner_engine(engine) as owner,
        owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        owner.connect().execution_options(isolation_level="AUTOCOMMIT") as watcher,
    ):
        for statement in (
            f"""CREATE OR REPLACE FUNCTION test_gate() RETURNS trigger LANGUAGE plpgsql
                SET lock_timeout = '5s' AS -- longer than a step waits for the lock on a wallet
                $$ BEGIN PERFORM pg_advisory_xact_lock_shared({_KEY}); RETURN NULL; END $$""",
            f"""CREATE CONSTRAINT TRIGGER test_gate AFTER {event} ON {table}
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ({condition})
                EXECUTE FUNCTION test_gate()""",
            f"SELECT pg_advisory_lock({_KEY})",
        ):
            connection.execute(text(statement))
        gate = CommitGate(connection, watcher)
        try:
            yield gate
        finally:
            gate.open()
            connection.execute(text(f"DROP TRIGGER test_gate ON {table}"))


@contextmanager
def batch_taken_after(engine: Engine, session: int) -> Iterator[CommitGate]:
    """Take the lock of the batch that a step at the gate has locked, as soon as the step commits.

    session: the id of the step's server process. The next link of the batch waits for the lock,
    before it has read or changed anything.
    """
    held = text(
        "SELECT CAST(classid AS bigint) << 32 | CAST(objid AS bigint) FROM pg_locks"
        " WHERE pid = :pid AND locktype = 'advisory' AND granted"
    )
    with (
        owner_engine(engine) as owner,
        owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        owner.connect().execution_options(isolation_level="AUTOCOMMIT") as watcher,
    ):
        key = watcher.scalar(held, {"pid": session})
        asking = Thread(
            target=connection.execute, args=(text("SELECT pg_advisory_lock(:key)"), {"key": key})
        )
        gate = CommitGate(connection, watcher, key, asking)
        asking.start()
        while asking.is_alive() and not gate.waiting():
            time.sleep(0.02)
        try:
            yield gate
        finally:
            asking.join()
            gate.open()
