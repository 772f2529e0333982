"""Commit gate: stops a step inside the database just before its commit.

The test installs a deferred trigger that asks for a lock which the test holds. So a process stops
at an exact point, without any change to its code, and the test can kill it there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
    """Closed until `open`: until then, every commit of the watched step waits."""

    connection: Connection
    watcher: Connection

    def waiting(self) -> list[int]:
        """Return the ids of the server processes that wait at the gate."""
        query = text(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = :key AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return list(self.watcher.scalars(query, {"key": _KEY}))

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
