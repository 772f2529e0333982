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

from collections.abc import Callable, Mapping
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
from ledger.reconciliation.budget import Budget
from ledger.reconciliation.discrepancies import (
    asset_discrepancy,
    hold_discrepancies,
    posting_discrepancies,
)
from ledger.reconciliation.findings import MAX_FINDINGS, Finding, Recorder, hold_run, not_rebuilt
from ledger.reconciliation.orphan_scan import OrphanTable, find_orphans
from ledger.reconciliation.runs import Reconciliation, RunPhase
from ledger.reconciliation.wallet_check import WalletCheck
from ledger.reconciliation.wallet_scan import USUAL_WALLETS

MAX_ATTEMPTS: Final = 20
"""After so many attempts without a finished piece, each smaller than the last, a run is given up,
so that a new one can begin."""

MAX_PASSES: Final = 3
"""Wallets that become wrong again in every pass of a run are left to the next run."""

_LOCK_KEY: Final = 0x7265_636F_6E63_696C
"""A number of our own: the letters "reconcil"."""

FIRST_PHASE_OF_ALL: Final[RunPhase] = "outcomes"
"""Ended transfers never change, so a run that is not full begins with `unfinished`."""
_NEXT_PHASE: Final[dict[RunPhase, RunPhase]] = {
    "outcomes": "postings",
    "postings": "unfinished",
    "unfinished": "transfers",
    "transfers": "wallets",
    "wallets": "assets",
}


def work(
    engine: Engine,
    *,
    every_s: float,
    works_for_s: float,
    yields_after_s: float | None = None,
    found: list[Finding],
) -> Reconciliation | None:
    """Continue the run that is under way, or begin one if the last is `every_s` old.

    works_for_s: begin no new piece of work after so many seconds; after `yields_after_s` if others
    write to the database meanwhile.
    found: gets each finding after its commit, also if this function raises later.
    Returns: the run as it is now; None when there was nothing to do, or another worker did it.
    Harmless beside another call, and wherever it is interrupted.
    Raises: Unavailable: when the database does not answer; finished pieces stay finished.
    """
    # Two at once would do all work twice. Correctness does not depend on it: see `hold_run`.
    with try_lock(engine, _LOCK_KEY) as is_alone:
        budget = Budget(works_for_s, works_for_s if yields_after_s is None else yields_after_s)
        return _work_alone(engine, every_s, budget, found) if is_alone else None


def _work_alone(
    engine: Engine, every_s: float, budget: Budget, found: list[Finding]
) -> Reconciliation | None:
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
            step = _PHASES[now.phase](now, recorder, budget)
            now = _advance(engine, now, step, recorder.unrecorded)
            if budget.is_spent():  # asked last: at least one piece is done
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
    rows: int = 0
    """The rows that were read, as `runs` counts them for the progress."""


def _orphans(run: Reconciliation, recorder: Recorder, budget: Budget) -> _Step:
    table = _ORPHANS_OF[run.phase]
    after = run.cursor.get("after")
    with budget.reading(recorder.engine) as connection:
        search = find_orphans(connection, table, after and UUID(after), smaller=_smaller(run))
    recorder.record_all(search.orphans)
    rows = search.transfers if run.is_full and table != "unfinished" else 0
    return _Step(None if search.last is None else {"after": str(search.last)}, rows=rows)


_ORPHANS_OF: Final[dict[RunPhase, OrphanTable]] = {
    "outcomes": "outcomes",
    "postings": "postings",
    "unfinished": "unfinished",
}


def _transfers(run: Reconciliation, recorder: Recorder, budget: Budget) -> _Step:
    with budget.reading(recorder.engine) as connection:
        checks = journal_scan.check_next_transfers(
            connection, _position(run), until=run.transfers_until, smaller=_smaller(run)
        )
    if checks.last is None:
        return _Step(None)
    recorder.record_all(checks.discrepancies, recheck=journal_scan.still_stands)
    at, id = checks.last
    cursor = {"at": at.isoformat(), "id": str(id)}
    return _Step(cursor, transfers=checks.count, rows=checks.count)


def _position(run: Reconciliation) -> journal_scan.JournalPosition | None:
    if "at" in run.cursor:
        return datetime.fromisoformat(run.cursor["at"]), UUID(run.cursor["id"])
    return None if run.transfers_from is None else (run.transfers_from, UUID(int=0))


def _wallets(run: Reconciliation, recorder: Recorder, budget: Budget) -> _Step:
    after = run.cursor.get("after")
    wallets = run.cursor.get("wallets", USUAL_WALLETS)
    with budget.reading(recorder.engine) as connection:
        checks = wallet_scan.check_next_wallets(
            connection,
            after and UUID(after),
            wallets=wallets,
            run_id=run.id,
            is_full=run.is_full,
            # Older ones were searched through in a phase before.
            orphans_since=run.started_at if run.cursor.get(_SEARCHED) else None,
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
    # A wallet with many postings is read alone in the end; many with few are read together.
    if len(complete) == len(checks):
        wallets = min(wallets * 10, wallet_scan.MOST_WALLETS)
    elif not complete:
        wallets = max(wallets // 10, 1)
    return _Step(
        {"after": str(complete[-1].wallet_id) if complete else after, "wallets": wallets},
        wallets=len(complete),
        suspects=suspects,
        must_read_all=bool(suspects) and not run.is_full,
        rows=len(complete) + sum(check.lines for check in checks),
    )


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


def _assets(run: Reconciliation, recorder: Recorder, _budget: Budget) -> _Step:
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


_PHASES: Final[dict[RunPhase, Callable[[Reconciliation, Recorder, Budget], _Step]]] = {
    "outcomes": _orphans,
    "postings": _orphans,
    "unfinished": _orphans,
    "transfers": _transfers,
    "wallets": _wallets,
    "assets": _assets,
}

_runs = scan_tables.reconciliations

_SEARCHED: Final = "postings_searched"
"""Stands in the cursor from the phase `postings` on. A version without that phase drops it, so that
the wallets are then read with a look for the transfer of each posting."""


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
        "rows_read": _runs.c.rows_read + step.rows,
    }
    if step.must_read_all:
        values |= _from_the_beginning(suspects)
    elif step.cursor is not None:
        values["cursor"] = _noted(run) | step.cursor
    elif run.phase in _NEXT_PHASE:
        values |= {"phase": _NEXT_PHASE[run.phase], "cursor": _noted(run, is_phase_done=True)}
    else:
        return _end(engine, run, "finished", values)
    return _change(engine, run, values)


def _noted(run: Reconciliation, *, is_phase_done: bool = False) -> dict[str, Any]:
    """Return what every later cursor of the run says: whether it has searched the postings."""
    is_searched = run.cursor.get(_SEARCHED) or (is_phase_done and run.phase == "postings")
    return {_SEARCHED: True} if is_searched else {}


def _from_the_beginning(suspects: Mapping[str, str]) -> dict[str, Any]:
    """Return the changes that let a run read everything, once more if it was full already."""
    counts = dict.fromkeys(
        ["wallets_checked", "transfers_checked", "assets_checked", "rows_read"], 0
    )
    return counts | {
        "is_full": True,
        "phase": FIRST_PHASE_OF_ALL,
        "cursor": {},
        "passes": _runs.c.passes + 1,
        "transfers_from": None,
        "transfers_until": func.clock_timestamp(),
        "rows_total": runs.ROWS_OF_ALL,
        "suspects": suspects,
        "next_suspects": {},
        # Discrepancies beyond MAX_FINDINGS will be found, and counted, again.
        "findings_count": func.least(_runs.c.findings_count, MAX_FINDINGS),
    }


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
