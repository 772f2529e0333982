"""Runs of the consistency scan as records: beginning, reading and pruning them.

Guarantees that at most one run is under way (a unique index). `ledger.reconciliation.scan`
does the work of a run; `ledger.reconciliation.findings` records its findings.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Interval,
    Uuid,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    text,
    tuple_,
)

from ledger.errors import NotFound
from ledger.ids import new_id
from ledger.postgres import scan_tables
from ledger.reconciliation.findings import Action, Finding

Trigger = Literal["schedule", "operator"]
RunState = Literal["running", "finished", "failed"]
RunPhase = Literal["outcomes", "postings", "unfinished", "transfers", "wallets", "assets"]

FULL_EVERY_S: Final = 86_400.0
"""A scheduled run reads only what is new. Once a day, and when an operator begins it, a run reads
all, in case somebody with the right to switch off triggers has changed old postings."""

SHOWN_FINDINGS: Final = 1_000
KEPT_S: Final = 7 * 86_400.0
PRUNED_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One run: its kind, its progress and its result."""

    id: UUID
    trigger: Trigger
    state: RunState
    started_at: datetime
    finished_at: datetime | None
    wallets_checked: int
    assets_checked: int
    transfers_checked: int
    findings_count: int
    """The number of new discrepancies, including those that were only counted."""
    standing_count: int
    """The number of discrepancies from earlier runs that still stood at the end of this one."""
    is_full: bool
    phase: RunPhase
    cursor: dict[str, Any]
    chunks: int
    """Grows with each finished piece of work: a worker with an older number is too late."""
    attempts: int
    """How often in a row work on it began without finishing a piece."""
    transfers_from: datetime | None
    transfers_until: datetime
    """Later transfers are left to the next run, so that this one can end."""
    horizon: datetime
    passes: int
    """How often this run has read everything, including the present pass."""
    suspects: dict[str, str]
    """Wallets that did not follow from the journal before this pass, with their deviation."""
    next_suspects: dict[str, str]
    """The same, found in this pass."""
    transfers_total: int
    """The number of all transfers when it began."""
    rows_read: int
    rows_total: int
    """An estimate of the rows to read in this pass, see ROWS_OF_ALL."""

    @property
    def progress(self) -> float:
        """Return the part of the present pass that is done, from 0 to 1: an estimate."""
        if self.state == "finished":
            return 1.0
        return min(self.rows_read / self.rows_total, 0.99) if self.rows_total else 0.0


def begin(connection: Connection, trigger: Trigger) -> tuple[Reconciliation, bool]:
    """Begin a run if none is under way. Returns: the run under way, and whether it is a new one.

    An operator's run is a full one; a scheduled run is one if the last full run is a day old.
    """
    run_id, full_every = new_id(), timedelta(seconds=FULL_EVERY_S)
    while True:
        argument = {"id": run_id, "trigger": trigger, "full_every": full_every}
        if connection.execute(_BEGIN, argument).rowcount:
            return get(connection, run_id), True
        running = current(connection)
        if running is not None:
            return running, False
        # The other run ended between the two statements.


def begin_if_due(connection: Connection, *, every_s: float) -> Reconciliation | None:
    """Begin a scheduled run if the last run of any kind is `every_s` old. None: not yet."""
    argument = {"every": timedelta(seconds=every_s)}
    if not connection.execute(_IS_DUE, argument).scalar_one():
        return None
    return begin(connection, "schedule")[0]


def current(connection: Connection) -> Reconciliation | None:
    """Return the run that is under way, if any."""
    row = connection.execute(select(_runs).where(_runs.c.state == "running")).one_or_none()
    return None if row is None else _run(row)


def latest(connection: Connection) -> Reconciliation | None:
    """Return the run that began last, in any state."""
    newest = select(_runs).order_by(_runs.c.started_at.desc(), _runs.c.id.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return None if row is None else _run(row)


def get(connection: Connection, run_id: UUID) -> Reconciliation:
    """Return a run. Raises: NotFound: when there is none with this id, or it was pruned."""
    row = connection.execute(select(_runs).where(_runs.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFound
    return _run(row)


def list_runs(
    connection: Connection, *, limit: int, before: tuple[datetime, UUID] | None
) -> list[Reconciliation]:
    """Return runs, newest first. before: (started_at, id) of the last one of the previous page."""
    query = select(_runs).order_by(_runs.c.started_at.desc(), _runs.c.id.desc()).limit(limit)
    if before is not None:
        seen = tuple_(*map(literal, before))
        query = query.where(tuple_(_runs.c.started_at, _runs.c.id) < seen)
    return [_run(row) for row in connection.execute(query)]


def findings_of(connection: Connection, run_id: UUID) -> list[Finding]:
    """Return the findings of a run, in the order of recording; at most SHOWN_FINDINGS."""
    found = scan_tables.reconciliation_findings
    query = select(found).where(found.c.reconciliation_id == run_id)
    rows = connection.execute(query.order_by(found.c.id).limit(SHOWN_FINDINGS))
    return [
        Finding(
            kind=row.kind,
            wallet_id=row.wallet_id,
            asset=row.asset,
            transfer_id=row.transfer_id,
            detail=row.detail,
            action=cast(Action, row.action),
            before=row.before,
            after=row.after,
            at=row.at,
        )
        for row in rows
    ]


def count_findings(connection: Connection) -> dict[tuple[str, str], int]:
    """Return how many findings all runs together have recorded, per (kind, action)."""
    found = scan_tables.reconciliation_findings.c
    query = select(found.kind, found.action, func.count()).group_by(found.kind, found.action)
    return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def prune(connection: Connection) -> int:
    """Delete old runs without findings, a limited number at a time. Returns: how many."""
    argument = {"age": timedelta(seconds=KEPT_S), "most": PRUNED_AT_ONCE}
    return connection.execute(_PRUNE, argument).rowcount


_runs = scan_tables.reconciliations

_ALL_WALLETS = (
    "(SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'wallets'::regclass)"
)
ROWS_OF_ALL: Final[ColumnElement[Any]] = literal_column(f"7 * transfers_total + {_ALL_WALLETS}")
"""What a full pass reads: each transfer in three phases, its two postings for two wallets each, and
the wallets. The pieces count the same."""

# The next run begins with the transfers at `horizon`: all older transfers had ended when this run
# began. There is a minute of overlap, because a transfer becomes visible some time after its
# `created_at`; and `horizon` is at most a day old, so that a transfer which never ends does not
# make every run a full one.
_BEGIN = text(f"""
    INSERT INTO reconciliations (id, trigger, is_full, phase, transfers_from, horizon,
                                 transfers_total, rows_total)
    SELECT :id, :trigger, full_one, CASE WHEN full_one THEN 'outcomes' ELSE 'unfinished' END,
           CASE WHEN full_one THEN NULL ELSE last.horizon END,
           greatest(least(now(), oldest.created_at) - interval '1 minute',
                    now() - interval '1 day'),
           counted.total,
           CASE WHEN full_one THEN 7 * counted.total
                ELSE 5 * greatest(counted.total - last.transfers_total, 0) END + {_ALL_WALLETS}
    FROM (SELECT (SELECT coalesce(sum(count), 0) FROM ended_counts)
                 + (SELECT count(*) FROM unfinished) AS total) AS counted
    LEFT JOIN (SELECT horizon, transfers_total FROM reconciliations WHERE state = 'finished'
               ORDER BY started_at DESC, id DESC LIMIT 1) AS last ON true
    LEFT JOIN transfers AS oldest
        ON oldest.id = (SELECT transfer_id FROM unfinished ORDER BY seq LIMIT 1)
    CROSS JOIN LATERAL (SELECT :trigger = 'operator' OR last.horizon IS NULL OR (
        NOT EXISTS (SELECT FROM reconciliations
                    WHERE is_full AND state = 'finished' AND started_at > now() - :full_every)
        -- After a failed full run comes a quick one: perhaps only that can succeed.
        AND NOT coalesce((SELECT is_full AND state = 'failed' FROM reconciliations
                          ORDER BY started_at DESC, id DESC LIMIT 1), false)) AS full_one) AS depth
    ON CONFLICT DO NOTHING
""").bindparams(  # noqa: S608 - built from constants
    bindparam("id", type_=Uuid()),
    bindparam("trigger", type_=scan_tables.reconciliations.c.trigger.type),
    bindparam("full_every", type_=Interval()),
)
# A start in the future does not count: after a clock was set back, the scan must not wait for it.
_IS_DUE = text("""
    SELECT NOT EXISTS (SELECT FROM reconciliations
                       WHERE started_at BETWEEN now() - :every AND now() + :every)
""").bindparams(bindparam("every", type_=Interval()))
_PRUNE = text("""
    DELETE FROM reconciliations WHERE id IN (
        SELECT id FROM reconciliations AS old
        WHERE started_at < now() - :age AND state <> 'running'
          AND findings_count = 0
          AND NOT EXISTS (SELECT FROM reconciliation_findings WHERE reconciliation_id = old.id)
        ORDER BY started_at LIMIT :most)
""").bindparams(bindparam("age", type_=Interval()), bindparam("most", type_=Integer()))


def _run(row: Any) -> Reconciliation:
    return Reconciliation(
        **{name: getattr(row, name) for name in Reconciliation.__dataclass_fields__}
    )
