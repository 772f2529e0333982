"""SQL of the steps: `docs/steps.sql` shows exactly what PostgreSQL receives.

`make steps-sql` writes the document again, from what this test records.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from difflib import unified_diff
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, event, text

from ledger import recovery, wallets
from ledger.buffer import replaying
from ledger.buffer.entries import Buffered
from ledger.funds import waits
from ledger.ids import new_id
from ledger.postgres.database import transaction
from ledger.postgres.session import Session
from testing.bank import Bank
from testing.servers.shared import ROOT
from tests.integration.ledger.sql_text import in_lines, with_names

DOCUMENT = ROOT / "docs" / "steps.sql"
HEAD = """\
-- SQL of the steps, as PostgreSQL gets it. `make steps-sql` writes this file; a test compares it.
-- Most of the steps' statements it gets once from each session, and then their names (PREPARE).
-- `:name` is a parameter; an array has one element for each transfer. Above each statement is
-- the function that sends it. A statement that was shown before is only named. Without BEGIN,
-- each statement is a transaction of its own.
"""
RULE = "-" * 96


class Recorder:
    """Records the SQL that is sent to the database, by step."""

    def __init__(self, bank: Bank) -> None:
        self.document = HEAD
        self._step = ""
        self._shown: dict[str, str] = {}
        self._engine = bank.engine

    @contextmanager
    def step(self, name: str, what_it_does: str) -> Iterator[None]:
        self._step = name
        self.document += f"\n\n{RULE}\n-- {name}\n-- {what_it_does}\n{RULE}\n"
        listeners = (
            ("commit", self._commit),
            ("before_cursor_execute", self._statement),
        )
        for name_of_event, listener in listeners:
            event.listen(self._engine, name_of_event, listener)
        yield
        for name_of_event, listener in listeners:
            event.remove(self._engine, name_of_event, listener)

    def _commit(self, connection: Connection) -> None:
        if not _session(connection).is_idle:
            self.document += "\nCOMMIT;\n"

    def _statement(
        self,
        connection: Connection,
        _cursor: Any,
        statement: str,
        parameters: Any,
        _context: Any,
        _many: bool,
    ) -> None:
        session = _session(connection)
        if session.begins and not session.pending:
            self.document += "\nBEGIN;\n"
        sender = next(
            frame
            for frame in reversed(traceback.extract_stack())
            if Path(frame.filename).is_relative_to(ROOT / "ledger")
        )
        named = with_names(statement, parameters)
        lines = in_lines(named)
        assert "".join(lines.split()) == "".join(named.split()), "only white space may differ"
        self.document += f"\n-- {Path(sender.filename).relative_to(ROOT)}: {sender.name}"
        shown_in = self._shown.setdefault(lines, self._step)
        if shown_in == self._step or lines.count("\n") < 3:
            self.document += f"\n{lines};\n"
        else:
            self.document += f' (shown in "{shown_in}")\n'


def _session(connection: Connection) -> Session:
    session = connection.connection.driver_connection
    assert isinstance(session, Session)
    return session


def record_the_steps(recorder: Recorder, bank: Bank) -> None:
    """Run each step in cases that make it send all its statements."""
    rich, poor, to, frozen = bank.wallet(1_000), bank.wallet(), bank.wallet(), bank.wallet()
    known, batch = bank.request(rich, to, 1), new_id()
    bank.accept(known)
    with recorder.step(
        "Accept",
        "Records new requests, in line or rejected, and finds those that were recorded before.",
    ):
        bank.answers(
            known,
            bank.request(rich, to, 10),
            bank.request(rich, frozen, 10),
            bank.request(poor, to, 20),
        )
    bank.accept(bank.request(rich, poor, 1_000))  # more than what is left
    bank.accept(bank.request(rich, poor, 20), bank.request(poor, to, 20))
    with recorder.step(
        "Reserve",
        "Claims the longest waiting, rejects those that their source cannot pay or puts them back"
        " until it can, holds the rest.",
    ):
        bank.step("reserve", batch)
    with recorder.step(
        "Reserve, with nothing to claim",
        "Reserves what the batch has already, since it was cut or driven again. Here: nothing.",
    ):
        bank.step("reserve", new_id())
    with recorder.step("Deduct", "Moves the money from the source wallets to the transit wallet."):
        bank.step("deduct", batch)
    with transaction(bank.engine) as connection:
        wallets.freeze(connection, frozen.id)
    with recorder.step(
        "Credit",
        "Moves the money on to the destination wallets, and fails what goes to an inactive one.",
    ):
        bank.step("credit", batch)
    with recorder.step("Commit", "Makes the money available to its owners, ends the transfers."):
        bank.step("commit", batch)
    with recorder.step("Roll back", "Undoes what was done for failed transfers, and ends them."):
        bank.roll_back(batch)


def record_the_rest(recorder: Recorder, bank: Bank) -> None:
    source, destination = bank.wallet(1_000), bank.wallet()
    known = bank.request(source, destination, 10)
    bank.reach("reserved", known)
    with recorder.step(
        "Recovery scan",
        "Asks if a reserve is overdue, and gives transfers that stopped moving a new batch.",
    ):
        with transaction(bank.engine) as connection:
            waits.release_ended(connection)
            recovery.is_waiting(connection, waiting_s=0)
        with transaction(bank.engine) as connection:
            recovery.redrive_stuck(connection, stuck_after_s=0, worker="test")
    with (
        recorder.step(
            "Release the rest",
            "Releases those that wait for one that has ended, where a step had to leave them.",
        ),
        transaction(bank.engine) as connection,
    ):
        waits.release_rest(connection, [uuid4()])
    buffered = [
        bank.request(source, destination, 20),
        bank.request(source, uuid4(), 20),  # can be no transfer
        bank.request(source, destination, 30, key=known.idempotency_key),  # came too late
    ]
    with (
        recorder.step("Replay", "Records what was buffered while the database was away, once."),
        transaction(bank.engine) as connection,
    ):
        replaying.replay(connection, [Buffered(each, datetime.now(UTC)) for each in buffered])


def test_the_document_shows_what_is_sent(bank: Bank) -> None:
    with transaction(bank.engine) as connection:
        owner = connection.scalar(
            text("SELECT tableowner FROM pg_tables WHERE tablename = 'wallets'")
        )
        assert connection.scalar(text("SELECT current_user")) != owner, "the grants are enough"
    recorder = Recorder(bank)
    record_the_steps(recorder, bank)
    record_the_rest(recorder, bank)
    if os.environ.get("STEPS_SQL") == "write":
        DOCUMENT.write_text(recorder.document)
    known, sent = DOCUMENT.read_text().splitlines(), recorder.document.splitlines()
    changes = "\n".join(unified_diff(known, sent, "docs/steps.sql", "sent now", lineterm=""))
    assert not changes, f"If this is meant, run `make steps-sql`.\n{changes}"
