"""The consistency scan: the books against themselves, in small pieces, while money moves.

Guarantees that nothing is called wrong which is not: all that is compared is read by one
statement, on one snapshot. That no payment waits for it, unless something is to be mended:
then one wallet is held for some milliseconds. That a run can be taken up by anybody where it
stands, since its place is a row; and that two at work on it at once do nothing twice.

A wrong projection (what is written on a wallet does not follow from the journal) is rebuilt.
A wrong journal (the journal contradicts itself) is not mended by a program: the wallets
concerned are frozen, and a human is called. So a wallet is rebuilt only when every transfer was
looked at *after* it was found to be wrong, and it is still wrong by as much: whoever spoilt it
may have spoilt the journal. A run that meets such a wallet reads all, once more if need be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, delete, func, select, update

from ledger.errors import Superseded
from ledger.postgres import schema
from ledger.postgres.database import autocommit, transaction
from ledger.reconciliation import journal_scan, runs, wallet_scan
from ledger.reconciliation.discrepancies import wrong_asset, wrong_holds, wrong_postings
from ledger.reconciliation.findings import MAX_FINDINGS, Finding, Recorder, hold, not_rebuilt
from ledger.reconciliation.journal_scan import StateTable
from ledger.reconciliation.runs import Phase, Reconciliation
from ledger.reconciliation.wallet_scan import WalletCheck

MAX_ATTEMPTS: Final = 20
"""A run that gets nothing done in so many attempts, each smaller than the one before, is given
up, so that a new one can begin."""

MAX_PASSES: Final = 3
"""Wallets that are spoilt anew while one run reads and reads again are left to the next."""

_LOCK_KEY: Final = 0x7265_636F_6E63_696C
"""Any number of ours; this one spells "reconcil"."""

FIRST_PHASE_OF_ALL: Final[Phase] = "outcomes"
"""Ended transfers never change: a run that reads only what is new begins one phase later."""
_NEXT_PHASE: Final[dict[Phase, Phase]] = {
    "outcomes": "unfinished",
    "unfinished": "transfers",
    "transfers": "wallets",
    "wallets": "assets",
}


def work(
    engine: Engine, *, every_s: float, works_for_s: float, found: list[Finding]
) -> Reconciliation | None:
    """Go on with the run that is under way, or begin one when the last is `every_s` old.

    works_for_s: take up no new piece of work after so many seconds.
    found: gets what was found, each once it is committed, also when this raises.
    Returns: the run as it stands now; None when there was nothing to do, or others did it.
    Harmless beside another one at work, and wherever it is interrupted.
    Raises: Unavailable: when the database does not answer; what is done stays done.
    """
    with _alone(engine) as nobody_else:
        return _work_alone(engine, every_s, works_for_s, found) if nobody_else else None


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
        # Noted before anything can go wrong with it.
        now = _change(engine, run, {"attempts": _runs.c.attempts + 1})
        while now and now.state == "running":
            now = _do_piece(engine, now, found)  # at least one, however little time there is
            if time.monotonic() >= deadline_s:
                break
    except Superseded:
        return None
    return now


@contextmanager
def _alone(engine: Engine) -> Iterator[bool]:
    """Keep others from the same work; they would only do it twice. Yields: whether nobody is at it.

    The lock goes with a transaction, which the server ends when it is idle for too long: one who
    stands still must not hold up all. Nothing relies on it: see `findings.hold`.
    """
    with transaction(engine) as connection:
        lock = select(func.pg_try_advisory_xact_lock(_LOCK_KEY))
        yield bool(connection.execute(lock).scalar_one())


@dataclass(frozen=True)
class _Step:
    """Where a run goes on after a piece of work."""

    cursor: dict[str, Any] | None
    """None: the phase is done."""
    wallets: int = 0
    transfers: int = 0
    assets: int = 0
    suspects: dict[str, str] = field(default_factory=dict)
    """Wallets to be rebuilt, once all has been read after this."""
    must_read_all: bool = False


def _do_piece(engine: Engine, run: Reconciliation, found: list[Finding]) -> Reconciliation | None:
    """Do the next piece of work. Returns: the run after it; None when another was faster.

    found: gets what was found, as soon as it is recorded.
    """
    recorder = Recorder(engine, run.id, run.chunks, run.is_full, found)
    step = _PHASES[run.phase](run, recorder)
    return _advance(engine, run, step, recorder.unrecorded)


def _orphans(run: Reconciliation, recorder: Recorder) -> _Step:
    table: StateTable = "outcomes" if run.phase == "outcomes" else "unfinished"
    after = run.cursor.get("after")
    with autocommit(recorder.engine) as connection:
        last, wrongs = journal_scan.orphans(
            connection, table, after and UUID(after), smaller=_smaller(run)
        )
    recorder.wrongs(wrongs)
    return _Step(None if last is None else {"after": str(last)})


def _transfers(run: Reconciliation, recorder: Recorder) -> _Step:
    after = _place(run)
    with autocommit(recorder.engine) as connection:
        found = journal_scan.next_transfers(
            connection, after, until=run.transfers_until, smaller=_smaller(run)
        )
        if found.last is None:
            return _Step(None)
        wrongs = journal_scan.wrong_transfers(connection, after, found.last)
    recorder.wrongs(wrongs, still=journal_scan.is_wrong)
    at, id = found.last
    return _Step({"at": at.isoformat(), "id": str(id)}, transfers=found.count)


def _place(run: Reconciliation) -> journal_scan.JournalPosition | None:
    if run.cursor:
        return datetime.fromisoformat(run.cursor["at"]), UUID(run.cursor["id"])
    return None if run.transfers_from is None else (run.transfers_from, UUID(int=0))


def _wallets(run: Reconciliation, recorder: Recorder) -> _Step:
    after = run.cursor.get("after")
    with autocommit(recorder.engine) as connection:
        looks = wallet_scan.look_at_next(
            connection,
            after and UUID(after),
            alone=run.cursor.get("alone", False),
            run_id=run.id,
            is_full=run.is_full,
            smaller=_smaller(run),
        )
    recorder.wrongs([wrong for look in looks for wrong in wrong_postings(look)])
    # What was found is recorded first: nobody reads these postings again in this run.
    with transaction(recorder.engine) as connection:
        hold(connection, run.id, run.chunks)
        wallet_scan.save_positions(connection, looks, run_id=run.id, is_full=run.is_full)
    complete = _leading(looks, lambda look: look.is_complete)
    recorder.wrongs([wrong for look in complete for wrong in wrong_holds(look)])
    suspects = _rebuild(run, complete, recorder)
    if not looks:
        return _Step(None)
    last = str(complete[-1].wallet_id) if complete else after
    cursor = {"after": last, "alone": not complete}
    must_read_all = bool(suspects) and not run.is_full
    return _Step(cursor, wallets=len(complete), suspects=suspects, must_read_all=must_read_all)


def _rebuild(run: Reconciliation, looks: list[WalletCheck], recorder: Recorder) -> dict[str, str]:
    """Rebuild the wallets that were wrong before this pass began, and still are by as much.

    Returns: the others that are wrong: they are rebuilt after all has been read once more.
    """
    suspects = {}
    for look in looks:
        if not look.is_projection_wrong:
            continue
        name = str(look.wallet_id)
        if run.is_full and run.suspects.get(name) == look.deviation:
            recorder.projection(look.wallet_id, look.deviation)
        elif run.passes >= MAX_PASSES:
            recorder.wrong(not_rebuilt(look, "it was spoilt again while all was read"))
        elif run.is_full or not recorder.is_known(not_rebuilt(look, "")):
            suspects[name] = look.deviation
    return suspects


def _leading(looks: list[WalletCheck], holds: Callable[[WalletCheck], bool]) -> list[WalletCheck]:
    """The first of them, up to one of which it does not hold."""
    end = next((place for place, look in enumerate(looks) if not holds(look)), len(looks))
    return looks[:end]


def _assets(run: Reconciliation, recorder: Recorder) -> _Step:
    with autocommit(recorder.engine) as connection:
        count, wrong_assets = wallet_scan.assets_not_zero(connection)
    wrongs = [wrong_asset(asset, total, transits) for asset, total, transits in wrong_assets]
    if run.next_suspects and run.passes < MAX_PASSES:
        return _Step(None, must_read_all=True)
    if not run.is_full and not all(map(recorder.is_known, wrongs)):
        return _Step(None, must_read_all=True)
    recorder.wrongs(wrongs)
    return _Step(None, assets=count)


def _smaller(run: Reconciliation) -> int:
    """Once a piece of work has failed, for it may have been too much at once, it is halved."""
    return max(run.attempts - 1, 0)


_PHASES: Final[dict[Phase, Callable[[Reconciliation, Recorder], _Step]]] = {
    "outcomes": _orphans,
    "unfinished": _orphans,
    "transfers": _transfers,
    "wallets": _wallets,
    "assets": _assets,
}

_runs = schema.reconciliations


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
        # What was found beyond the bound is found, and counted, again.
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
    wrongs = schema.standing_wrongs
    with transaction(engine) as connection:
        hold(connection, run.id, run.chunks)
        if run.is_full and state == "finished":
            # It has looked everywhere: what it has not seen again is right by now.
            connection.execute(delete(wrongs).where(wrongs.c.last_found_in != run.id))
        standing = select(func.count()).select_from(wrongs).where(wrongs.c.found_in != run.id)
        ended = {
            "state": state,
            "finished_at": func.clock_timestamp(),
            "standing_count": standing.scalar_subquery(),
        }
        return _update(connection, run, values | ended)


def _update(
    connection: Connection, run: Reconciliation, values: dict[str, Any]
) -> Reconciliation | None:
    mine = (_runs.c.id == run.id) & (_runs.c.chunks == run.chunks) & (_runs.c.state == "running")
    if not connection.execute(update(_runs).where(mine).values(values)).rowcount:
        return None
    return runs.get(connection, run.id)
