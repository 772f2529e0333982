"""Consistency scan: checks wallets, transfers and assets in small pieces while money moves.

Guarantees:
- No false alarms: everything that is compared is read by one statement, on one snapshot.
- No transfer waits for it, except during a repair, which locks one wallet for milliseconds.
- Any worker can continue a run, since its position is a row; two at once do nothing twice.

A wrong projection (a wallet's row does not follow from the journal) is rebuilt, where the journal
leaves no doubt. A wrong journal (it contradicts itself, or postings are missing) is not repaired
by a program: the wallets concerned are frozen, and an operator is alerted. So a wallet is rebuilt
only if every transfer was checked *after* it was found to be wrong, and its deviation is still the
same: the cause of the wrong wallet may have damaged the journal too. A run that finds such a
wallet reads everything, again if necessary.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, delete, func, select, update

from ledger.errors import Superseded
from ledger.postgres import scan_tables
from ledger.postgres.database import autocommit, transaction, try_lock
from ledger.reconciliation import journal_scan, runs, wallet_scan
from ledger.reconciliation.discrepancies import (
    asset_discrepancy,
    hold_discrepancies,
    posting_discrepancies,
)
from ledger.reconciliation.findings import MAX_FINDINGS, Finding, Recorder, hold_run, not_rebuilt
from ledger.reconciliation.journal_scan import StateTable
from ledger.reconciliation.runs import Reconciliation, RunPhase
from ledger.reconciliation.wallet_check import WalletCheck

MAX_ATTEMPTS: Final = 20
"""After so many attempts without a finished piece, each smaller than the last, a run is given up,
so that a new one can begin."""

MAX_PASSES: Final = 3
"""Wallets that become wrong again in every pass of a run are left to the next run."""

_LOCK_KEY: Final = 0x7265_636F_6E63_696C
"""A number of our own: the letters "reconcil"."""

FIRST_PHASE_OF_ALL: Final[RunPhase] = "outcomes"
"""Ended transfers never change, so a run that is not full begins one phase later."""
_NEXT_PHASE: Final[dict[RunPhase, RunPhase]] = {
    "outcomes": "unfinished",
    "unfinished": "transfers",
    "transfers": "wallets",
    "wallets": "assets",
}


def work(
    engine: Engine, *, every_s: float, works_for_s: float, found: list[Finding]
) -> Reconciliation | None:
    """Continue the run that is under way, or begin one if the last is `every_s` old.

    works_for_s: begin no new piece of work after so many seconds.
    found: gets each finding after its commit, also if this function raises later.
    Returns: the run as it is now; None when there was nothing to do, or another worker did it.
    Harmless beside another call, and wherever it is interrupted.
    Raises: Unavailable: when the database does not answer; finished pieces stay finished.
    """
    # Two at once would do all work twice. Correctness does not depend on it: see `hold_run`.
    with try_lock(engine, _LOCK_KEY) as is_alone:
        return _work_alone(engine, every_s, works_for_s, found) if is_alone else None


def _work_alone(
    engine: Engine, every_s: float, works_for_s: float, found: list[Finding]
) -> Reconciliation | None:
    deadline_s = time.monotonic() + works_for_s
    with transaction(engine) as connection:
        run = runs.current(connection)
        if run is None:
            run = runs.begin_if_due(connection, every_s=every_s)
            if run is not None:
                runs.prune(connection)
    if run is None:
        return None
    try:
        if run.attempts >= MAX_ATTEMPTS:
            return _end(engine, run, "failed", {})
        # Counted first, so that an attempt that crashes the process counts as well.
        now = _change(engine, run, {"attempts": _runs.c.attempts + 1})
        while now and now.state == "running":
            recorder = Recorder(engine, now.id, now.chunks, now.is_full, found)
            step = _PHASES[now.phase](now, recorder)
            now = _advance(engine, now, step, recorder.unrecorded)
            if time.monotonic() >= deadline_s:  # asked last: at least one piece is done
                break
    except Superseded:
        return None
    return now


@dataclass(frozen=True)
class _Step:
    """The result of a piece of work, and where the run continues."""

    cursor: dict[str, Any] | None
    """None: the phase is done."""
    wallets: int = 0
    transfers: int = 0
    assets: int = 0
    suspects: dict[str, str] = field(default_factory=dict)
    """Wallets to be rebuilt after everything has been read once more."""
    must_read_all: bool = False


def _orphans(run: Reconciliation, recorder: Recorder) -> _Step:
    table: StateTable = "outcomes" if run.phase == "outcomes" else "unfinished"
    after = run.cursor.get("after")
    with autocommit(recorder.engine) as connection:
        last, orphans = journal_scan.find_orphans(
            connection, table, after and UUID(after), smaller=_smaller(run)
        )
    recorder.record_all(orphans)
    return _Step(None if last is None else {"after": str(last)})


def _transfers(run: Reconciliation, recorder: Recorder) -> _Step:
    after = _position(run)
    with autocommit(recorder.engine) as connection:
        found = journal_scan.next_transfers(
            connection, after, until=run.transfers_until, smaller=_smaller(run)
        )
        if found.last is None:
            return _Step(None)
        discrepancies = journal_scan.check_transfers(connection, after, found.last)
    recorder.record_all(discrepancies, recheck=journal_scan.still_stands)
    at, id = found.last
    return _Step({"at": at.isoformat(), "id": str(id)}, transfers=found.count)


def _position(run: Reconciliation) -> journal_scan.JournalPosition | None:
    if run.cursor:
        return datetime.fromisoformat(run.cursor["at"]), UUID(run.cursor["id"])
    return None if run.transfers_from is None else (run.transfers_from, UUID(int=0))


def _wallets(run: Reconciliation, recorder: Recorder) -> _Step:
    after = run.cursor.get("after")
    with autocommit(recorder.engine) as connection:
        checks = wallet_scan.check_next_wallets(
            connection,
            after and UUID(after),
            alone=run.cursor.get("alone", False),
            run_id=run.id,
            is_full=run.is_full,
            smaller=_smaller(run),
        )
    recorder.record_all([each for check in checks for each in posting_discrepancies(check)])
    # The positions are saved after that: this run does not read these postings again.
    with transaction(recorder.engine) as connection:
        hold_run(connection, run.id, run.chunks)
        wallet_scan.save_positions(connection, checks, run_id=run.id, is_full=run.is_full)
    complete = list(takewhile(lambda check: check.is_complete, checks))
    recorder.record_all([each for check in complete for each in hold_discrepancies(check)])
    suspects = _rebuild(run, complete, recorder)
    if not checks:
        return _Step(None)
    last = str(complete[-1].wallet_id) if complete else after
    cursor = {"after": last, "alone": not complete}
    must_read_all = bool(suspects) and not run.is_full
    return _Step(cursor, wallets=len(complete), suspects=suspects, must_read_all=must_read_all)


def _rebuild(run: Reconciliation, checks: list[WalletCheck], recorder: Recorder) -> dict[str, str]:
    """Rebuild the wallets that were wrong before this pass and have the same deviation now.

    Returns: the other wrong wallets: they are rebuilt after everything has been read once more.
    """
    suspects = {}
    for check in checks:
        if not check.is_projection_wrong:
            continue
        name = str(check.wallet_id)
        if run.is_full and run.suspects.get(name) == check.deviation:
            recorder.rebuild(check.wallet_id, check.deviation)
        elif run.passes >= MAX_PASSES:
            recorder.record(not_rebuilt(check, "it changed again while everything was read"))
        elif run.is_full or not recorder.is_known(not_rebuilt(check, "")):
            suspects[name] = check.deviation
    return suspects


def _assets(run: Reconciliation, recorder: Recorder) -> _Step:
    with autocommit(recorder.engine) as connection:
        count, wrong_assets = wallet_scan.assets_not_zero(connection)
    discrepancies = [asset_discrepancy(*each) for each in wrong_assets]
    if run.next_suspects and run.passes < MAX_PASSES:
        return _Step(None, must_read_all=True)
    if not run.is_full and not all(map(recorder.is_known, discrepancies)):
        return _Step(None, must_read_all=True)
    recorder.record_all(discrepancies)
    return _Step(None, assets=count)


def _smaller(run: Reconciliation) -> int:
    """Return how often to halve a piece: once for each failure, which may mean it was too large."""
    return max(run.attempts - 1, 0)


_PHASES: Final[dict[RunPhase, Callable[[Reconciliation, Recorder], _Step]]] = {
    "outcomes": _orphans,
    "unfinished": _orphans,
    "transfers": _transfers,
    "wallets": _wallets,
    "assets": _assets,
}

_runs = scan_tables.reconciliations


def _advance(
    engine: Engine, run: Reconciliation, step: _Step, unrecorded: int
) -> Reconciliation | None:
    suspects = dict([*run.next_suspects.items(), *step.suspects.items()][:MAX_FINDINGS])
    values: dict[str, Any] = {
        "next_suspects": suspects,
        "chunks": _runs.c.chunks + 1,
        "attempts": 0,
        "wallets_checked": _runs.c.wallets_checked + step.wallets,
        "transfers_checked": _runs.c.transfers_checked + step.transfers,
        "assets_checked": _runs.c.assets_checked + step.assets,
        "findings_count": _runs.c.findings_count + unrecorded,
    }
    if step.must_read_all:
        again = {"wallets_checked": 0, "transfers_checked": 0, "assets_checked": 0}
        values |= again | {"is_full": True, "phase": FIRST_PHASE_OF_ALL, "cursor": {}}
        values |= {"transfers_from": None, "transfers_until": func.clock_timestamp()}
        # Discrepancies beyond MAX_FINDINGS will be found, and counted, again.
        values["findings_count"] = func.least(_runs.c.findings_count, MAX_FINDINGS)
        values |= {"suspects": suspects, "next_suspects": {}, "passes": _runs.c.passes + 1}
    elif step.cursor is not None:
        values["cursor"] = step.cursor
    elif run.phase in _NEXT_PHASE:
        values |= {"phase": _NEXT_PHASE[run.phase], "cursor": {}}
    else:
        return _end(engine, run, "finished", values)
    return _change(engine, run, values)


def _change(engine: Engine, run: Reconciliation, values: dict[str, Any]) -> Reconciliation | None:
    with transaction(engine) as connection:
        return _update(connection, run, values)


def _end(
    engine: Engine, run: Reconciliation, state: str, values: dict[str, Any]
) -> Reconciliation | None:
    standing = scan_tables.standing_wrongs
    with transaction(engine) as connection:
        hold_run(connection, run.id, run.chunks)
        if run.is_full and state == "finished":
            # It has checked everything: a discrepancy that it has not seen stands no longer.
            connection.execute(delete(standing).where(standing.c.last_found_in != run.id))
        older = select(func.count()).select_from(standing).where(standing.c.found_in != run.id)
        ended = {
            "state": state,
            "finished_at": func.clock_timestamp(),
            "standing_count": older.scalar_subquery(),
        }
        return _update(connection, run, values | ended)


def _update(
    connection: Connection, run: Reconciliation, values: dict[str, Any]
) -> Reconciliation | None:
    mine = (_runs.c.id == run.id) & (_runs.c.chunks == run.chunks) & (_runs.c.state == "running")
    if not connection.execute(update(_runs).where(mine).values(values)).rowcount:
        return None
    return runs.get(connection, run.id)
