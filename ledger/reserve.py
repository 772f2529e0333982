"""Reserve: claims accepted transfers for a batch, and sets apart those that get no money now."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    Select,
    Text,
    Uuid,
    bindparam,
    exists,
    func,
    or_,
    select,
    true,
    update,
)

from ledger.funds import waits
from ledger.funds.on_the_way import READ_LIMIT, count_ahead, read_lines
from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, rows_argument, rows_parameter
from ledger.rejections import FundsClaim, Terms, Unmet, find_unmet

CLAIM_LIMIT = 1_000
"""The most transfers that one reserve claims: the size of a batch."""


def claim(connection: Connection, batch_id: UUID) -> int:
    """Put accepted transfers into the batch, and leave them `accepted`. Isolation uses this.

    It takes those that have waited longest and that no other reserve is claiming. A batch that
    has transfers already stays as it is.
    Returns: their number, at most CLAIM_LIMIT.
    """
    return connection.execute(_CLAIM, {"batch": batch_id}).rowcount


def take(connection: Connection, batch_id: UUID, *, claimed: bool = False) -> int:
    """Claim transfers as `claim` does, and mark them as reserved. The step uses this.

    claimed: the batch has its transfers, claim no more.

    A batch that has transfers already (after a re-drive or a cut) claims none: its own are
    marked, unless some of them have been reserved before. So all reserved transfers of the batch
    are those marked here. One update claims and marks, because it is the larger part of a
    reserve's cost. It comes before the checks; no other transaction sees it before this one ends.
    Returns: their number, at most CLAIM_LIMIT.
    """
    argument = {"batch": batch_id}
    count = 0 if claimed else connection.execute(_CLAIM_AS_RESERVED, argument).rowcount
    return count or connection.execute(_TAKE, argument).rowcount


def set_unmet_apart(connection: Connection, batch_id: UUID, *, worker: str) -> Unmet:
    """Decide, in order of acceptance, which of the transfers just taken get no money now.

    The source wallets must be locked. `take` has marked all of them as reserved. Those that are
    rejected are set back to `accepted` and get their failure code; those that wait for an earlier
    transfer leave the batch. So no money moves for either.
    """
    rows = connection.execute(_CONTESTED, {"batch": batch_id}).all()
    if rows:
        waits.lock(connection)
    lines = read_lines(connection, {row.source_id for row in rows if row.is_short})
    unmet = find_unmet(
        (
            FundsClaim(
                transfer_id=row.transfer_id,
                source_id=row.source_id,
                source_available_minor=int(row.source_available),
                terms=Terms(
                    int(row.amount), row.source_kind, row.source_status, row.destination_status
                ),
                seq=row.seq,
            )
            for row in rows
        ),
        lines,
    )
    if unmet.rejected:
        failures = (
            (transfer_id, error.code, error.detail) for transfer_id, error in unmet.rejected
        )
        connection.execute(_FAIL, rows_argument(_FAILURE, failures))
    if unmet.waiting:
        waits.put_back(connection, unmet.waiting, worker=worker)
    return unmet


_u = schema.unfinished.c
_in_batch = _u.batch_id == bindparam("batch")

_batch_mate = schema.unfinished.alias("batch_mate")
_mates = exists().where(_batch_mate.c.batch_id == bindparam("batch"))

# A common table expression, because it runs exactly once. The planner may run a subquery again
# for each row of the table: each run would then lock the next CLAIM_LIMIT, until all are claimed.
_longest_waiting = (
    select(_u.transfer_id)
    .where(_u.batch_id.is_(None), _u.waits_for.is_(None))
    .order_by(_u.seq)
    .limit(CLAIM_LIMIT)
    .with_for_update(skip_locked=True)
    .cte("longest_waiting")
)
_RESERVED = {
    "state": "reserved",
    "reserved_at": func.statement_timestamp(),
    "moved_at": func.statement_timestamp(),
}
_CLAIM = (
    update(schema.unfinished)
    .where(_u.transfer_id.in_(select(_longest_waiting.c.transfer_id)), ~_mates)
    .values(batch_id=bindparam("batch"), moved_at=func.statement_timestamp())
)
_CLAIM_AS_RESERVED = _CLAIM.values(_RESERVED)
_TAKE = (
    update(schema.unfinished)
    .where(_in_batch, _u.failure_code.is_(None))
    .where(~_mates.where(_batch_mate.c.state != "accepted"))
    .values(_RESERVED)
)


def _build_contested() -> Select[Any]:
    """Select the taken transfers that may have to be rejected or to wait, in order of acceptance.

    The conditions repeat the rules of `ledger.rejections.rejection` for whole sources, in SQL: a
    rule that is added there needs a condition here, or its transfers are never looked at.
    If a source has enough for the sum of its transfers, and of those that were accepted before
    them and are not reserved yet, they all fit; this is nearly always so. Only the transfers of
    the other sources are checked one by one.
    """
    taken = _in_batch & (_u.state == "reserved")
    wallet = schema.wallets.c
    asked = (
        select(_u.source_id, func.sum(_u.amount).label("total"), func.max(_u.seq).label("last"))
        .where(taken)
        .group_by(_u.source_id)
        .subquery()
    )
    ahead = count_ahead(asked)
    available = wallet.balance - wallet.reserved - wallet.incoming
    short = (
        select(asked.c.source_id)
        .join(schema.wallets, wallet.id == asked.c.source_id)
        .join(ahead, true())
        .where(wallet.kind != "external")
        .where(or_(asked.c.total + ahead.c.total > available, ahead.c.count >= READ_LIMIT))
        .cte("short")
    )
    is_short = _u.source_id.in_(select(short.c.source_id))
    inactive = select(wallet.id).where(wallet.status != "active")
    source, destination = schema.wallets.alias("source"), schema.wallets.alias("destination")
    return (
        select(
            _u.transfer_id,
            _u.source_id,
            _u.seq,
            _u.amount,
            is_short.label("is_short"),
            source.c.kind.label("source_kind"),
            source.c.status.label("source_status"),
            (source.c.balance - source.c.reserved - source.c.incoming).label("source_available"),
            destination.c.status.label("destination_status"),
        )
        .select_from(
            schema.unfinished.join(source, source.c.id == _u.source_id).join(
                destination, destination.c.id == _u.destination_id
            )
        )
        .where(taken)
        .where(or_(is_short, _u.source_id.in_(inactive), _u.destination_id.in_(inactive)))
        .order_by(_u.seq)
    )


_CONTESTED = _build_contested()

_FAILURE: Columns = {"transfer_id": Uuid(), "failure_code": Text(), "failure_detail": Text()}
_given = rows_parameter("given", _FAILURE)
_FAIL = (
    update(schema.unfinished)
    .where(_u.transfer_id == _given.c.transfer_id)
    .values(
        state="accepted",
        reserved_at=None,
        failure_code=_given.c.failure_code,
        failure_detail=_given.c.failure_detail,
    )
)
