"""The runs of the consistency scan as records: beginning, reading, ending and pruning them.

Guarantees that at most one run is under way, whoever begins one (a unique index). What a run
does is in `ledger.reconciliation.scan`; what it found is in `ledger.reconciliation.findings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast
from uuid import UUID

from sqlalchemy import (
    Connection,
    Integer,
    Interval,
    Uuid,
    bindparam,
    func,
    literal,
    select,
    text,
    tuple_,
)

from ledger.errors import NotFound
from ledger.ids import new_id
from ledger.postgres import schema
from ledger.reconciliation.findings import Action, Finding

Trigger = Literal["schedule", "operator"]
RunState = Literal["running", "finished", "failed"]
Phase = Literal["outcomes", "unfinished", "transfers", "wallets", "assets"]

FULL_EVERY_S: Final = 86_400.0
"""A scheduled run reads what is new; once a day, and when an operator begins it, a run reads all:
what was posted never changes, but for a hand that can switch triggers off."""

SHOWN_FINDINGS: Final = 1_000
KEPT_S: Final = 7 * 86_400.0
PRUNED_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One run: what it is about, how far it is, and what came of it."""

    id: UUID
    trigger: Trigger
    state: RunState
    started_at: datetime
    finished_at: datetime | None
    wallets_checked: int
    assets_checked: int
    transfers_checked: int
    findings_count: int
    """What was newly found, also beyond what is recorded."""
    standing_count: int
    """What earlier runs found, and still stood when this one had finished."""
    is_full: bool
    phase: Phase
    cursor: dict[str, Any]
    chunks: int
    """Grows with each piece of work that is done: whoever holds an older number is too late."""
    attempts: int
    """How often in a row work on it was begun without getting a piece done."""
    transfers_from: datetime | None
    transfers_until: datetime
    """Of what is made later, the next run takes care: a run has an end."""
    horizon: datetime
    passes: int
    """How often all was read, or is being read, in this run."""
    suspects: dict[str, str]
    """Wallets that did not follow from the journal before this pass began, and by how much."""
    next_suspects: dict[str, str]
    """The same, found in this pass."""


def begin(connection: Connection, trigger: Trigger) -> tuple[Reconciliation, bool]:
    """Begin a run. Returns: the one that is under way now, and whether it is this one.

    An operator's run is a full one; a scheduled one is, when the last full one is a day old.
    """
    run_id, full_every = new_id(), timedelta(seconds=FULL_EVERY_S)
    while True:
        argument = {"id": run_id, "trigger": trigger, "full_every": full_every}
        if connection.execute(_BEGIN, argument).rowcount:
            return get(connection, run_id), True
        running = current(connection)
        if running is not None:
            return running, False
        # It ended between the two statements.


def begin_if_due(connection: Connection, *, every_s: float) -> Reconciliation | None:
    """Begin a scheduled run when the last one, whoever began it, is so old. None: not yet."""
    argument = {"every": timedelta(seconds=every_s)}
    if not connection.execute(_IS_DUE, argument).scalar_one():
        return None
    return begin(connection, "schedule")[0]


def current(connection: Connection) -> Reconciliation | None:
    """The run that is under way."""
    row = connection.execute(select(_runs).where(_runs.c.state == "running")).one_or_none()
    return None if row is None else _run(row)


def latest(connection: Connection) -> Reconciliation | None:
    """The run that began last, however it stands."""
    newest = select(_runs).order_by(_runs.c.started_at.desc(), _runs.c.id.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return None if row is None else _run(row)


def get(connection: Connection, run_id: UUID) -> Reconciliation:
    """Raises: NotFound: when there is none with this id (any more)."""
    row = connection.execute(select(_runs).where(_runs.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFound
    return _run(row)


def list_runs(
    connection: Connection, *, limit: int, before: tuple[datetime, UUID] | None
) -> list[Reconciliation]:
    """Runs, newest first. before: (started_at, id) of the last one already seen."""
    query = select(_runs).order_by(_runs.c.started_at.desc(), _runs.c.id.desc()).limit(limit)
    if before is not None:
        seen = tuple_(*map(literal, before))
        query = query.where(tuple_(_runs.c.started_at, _runs.c.id) < seen)
    return [_run(row) for row in connection.execute(query)]


def findings_of(connection: Connection, run_id: UUID) -> list[Finding]:
    """What a run found, in the order in which it did; at most SHOWN_FINDINGS."""
    found = schema.reconciliation_findings
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
    """How many findings all runs ever recorded, per (kind, action)."""
    found = schema.reconciliation_findings.c
    query = select(found.kind, found.action, func.count()).group_by(found.kind, found.action)
    return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def prune(connection: Connection) -> int:
    """Delete old runs that found nothing new, a bounded number. Returns: how many."""
    argument = {"age": timedelta(seconds=KEPT_S), "most": PRUNED_AT_ONCE}
    return connection.execute(_PRUNE, argument).rowcount


_runs = schema.reconciliations

# `horizon` is where the next run may begin with the transfers: what was made before that had
# ended when this run began. A minute of overlap, since a transfer is seen only some time after
# its `created_at`; and at most a day, so that one which stands still for ever does not make
# every run a full one.
_BEGIN = text("""
    INSERT INTO reconciliations (id, trigger, is_full, phase, transfers_from, horizon)
    SELECT :id, :trigger, full_one, CASE WHEN full_one THEN 'outcomes' ELSE 'unfinished' END,
           CASE WHEN full_one THEN NULL ELSE last.horizon END,
           greatest(least(now(), oldest.created_at) - interval '1 minute', now() - interval '1 day')
    FROM (SELECT) AS one
    LEFT JOIN (SELECT horizon FROM reconciliations WHERE state = 'finished'
               ORDER BY started_at DESC, id DESC LIMIT 1) AS last ON true
    LEFT JOIN transfers AS oldest
        ON oldest.id = (SELECT transfer_id FROM unfinished ORDER BY seq LIMIT 1)
    CROSS JOIN LATERAL (SELECT :trigger = 'operator' OR last.horizon IS NULL OR (
        NOT EXISTS (SELECT FROM reconciliations
                    WHERE is_full AND state = 'finished' AND started_at > now() - :full_every)
        -- After one that failed, a quick one has its turn: it may be all that can be done.
        AND NOT coalesce((SELECT is_full AND state = 'failed' FROM reconciliations
                          ORDER BY started_at DESC, id DESC LIMIT 1), false)) AS full_one) AS depth
    ON CONFLICT DO NOTHING
""").bindparams(
    bindparam("id", type_=Uuid()),
    bindparam("trigger", type_=schema.reconciliations.c.trigger.type),
    bindparam("full_every", type_=Interval()),
)
# Not in the future either: a clock that was set back must not keep the scan waiting.
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
