"""Pace of the reconciliation scan: its progress, and how it yields to those who write."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sqlalchemy import Engine, text

from ledger.postgres.database import autocommit, transaction
from ledger.reconciliation import scan as scan_module
from ledger.reconciliation.budget import Budget
from ledger.reconciliation.orphan_scan import ORPHANS_AT_ONCE, find_orphans
from testing.bank import Bank
from testing.concurrent_transactions import TIMEOUT_S
from testing.corruptible_ledger import CorruptibleLedger

POSTINGS = """INSERT INTO postings (transfer_id, leg, debit_wallet_id, credit_wallet_id, amount,
              debit_balance_after, credit_balance_after, created_at)
              SELECT md5((n / 2)::text)::uuid,
                     (ARRAY['deduct', 'credit'])[1 + n % 2], :external, :another, 1, 0, 0, now()
              FROM generate_series(2, {}) AS n"""


def test_the_progress_of_a_run_grows_from_nothing_to_all(ledger: CorruptibleLedger) -> None:
    ledger.bank.settle()
    keep_counts(ledger.bank.engine)
    for trigger in ("operator", "schedule"):
        run = ledger.begin("operator" if trigger == "operator" else "schedule")
        seen = [run.progress]
        while ledger.run(run.id).state == "running":
            ledger.continue_run(works_for_s=1e-9)
            seen.append(ledger.run(run.id).progress)
        assert seen == sorted(seen)
        assert (seen[0], seen[-1]) == (0.0, 1.0)
        assert any(0 < each < 1 for each in seen)


def test_progress_begins_again_when_all_is_read_once_more(ledger: CorruptibleLedger) -> None:
    keep_counts(ledger.bank.engine)
    assert ledger.scan() == []
    ledger.corrupt("UPDATE wallets SET balance = balance + 1000 WHERE id = :source")
    run = ledger.begin("schedule")
    passes = set()
    while ledger.run(run.id).state == "running":
        ledger.continue_run(works_for_s=1e-9)
        now = ledger.run(run.id)
        if now.passes not in passes and now.passes > 1:
            assert now.progress == 0
        passes.add(now.passes)
    assert passes == {1, 2}
    assert ledger.run(run.id).progress == 1


def test_a_turn_ends_early_while_others_write(bank: Bank) -> None:
    busy, idle = Budget(60, 0), Budget(60, 0)
    with idle.reading(bank.engine) as connection:
        connection.execute(text("SELECT count(*) FROM wallets"))
    with busy.reading(bank.engine), autocommit(bank.engine) as other:
        for _ in range(20):
            other.execute(text("SELECT pg_current_xact_id()"))
    assert busy.is_spent()
    assert not idle.is_spent()
    assert Budget(0, 0).is_spent()


def test_a_run_goes_on_while_nobody_writes_and_stops_while_somebody_does(
    ledger: CorruptibleLedger,
) -> None:
    run = ledger.begin()
    with writing(ledger.bank.engine):
        work(ledger, yields_after_s=0)
        assert ledger.run(run.id).state == "running"
    work(ledger, yields_after_s=0)
    assert ledger.run(run.id).state == "finished"


@contextmanager
def writing(engine: Engine) -> Iterator[None]:
    """Commit without a pause in another thread."""
    stop, began = threading.Event(), threading.Event()

    def write() -> None:
        with autocommit(engine) as connection:
            while not stop.is_set():
                connection.execute(text("SELECT pg_current_xact_id()"))
                began.set()

    with ThreadPoolExecutor(1) as threads:
        writer = threads.submit(write)
        try:
            assert began.wait(TIMEOUT_S)
            yield
        finally:
            stop.set()
        writer.result(TIMEOUT_S)


def test_more_orphaned_postings_than_one_piece_reports_are_all_found(
    ledger: CorruptibleLedger,
) -> None:
    count = ORPHANS_AT_ONCE + 500
    ledger.corrupt(POSTINGS.format(count + 1))
    after, found, pieces = None, set(), 0
    while True:
        with autocommit(ledger.bank.engine) as connection:
            search = find_orphans(connection, "postings", after)
        found |= {each.key for each in search.orphans}
        after, pieces = search.last, pieces + 1
        if after is None:
            break
    assert (len(found), pieces) == (2 * count, 2)


def test_orphaned_postings_are_found_when_an_older_version_has_begun_the_run(
    ledger: CorruptibleLedger,
) -> None:
    """It knows no phase for them, and leaves no note in the cursor that there was one."""
    ledger.corrupt("DELETE FROM transfers WHERE id = :settled")
    ledger.begin()
    ledger.corrupt("UPDATE reconciliations SET phase = 'transfers', cursor = '{}'")
    found = {ledger.named(each) for each in ledger.continue_run()}
    assert {("posting_orphaned", each, "frozen") for each in ("other", "another")} <= found


def work(ledger: CorruptibleLedger, *, yields_after_s: float) -> None:
    scan_module.work(
        ledger.bank.engine, every_s=3600, works_for_s=60, yields_after_s=yields_after_s, found=[]
    )


def keep_counts(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(
            text("""UPDATE ended_counts SET count = (SELECT count(*) FROM outcomes)
                    WHERE state = 'committed'""")
        )
