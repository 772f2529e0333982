"""Reserve: claims accepted transfers for a batch, and sets apart those that get no money now."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    Text,
    Update,
    Uuid,
    bindparam,
    cast,
    exists,
    func,
    or_,
    select,
    true,
    union_all,
    update,
)

from ledger.funds import waits
from ledger.funds.on_the_way import AHEAD_LIMIT, count_ahead, read_lines
from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, array_literal, rows_argument, rows_parameter
from ledger.postgres.dialect import PREPARED
from ledger.rejections import FundsClaim, Terms, Unmet, find_unmet

CLAIM_LIMIT = 1_000
"""The most transfers that one reserve claims: the size of a batch."""
MAX_TURNS = 500
"""The most clients that get a share of one claim, so that a claim costs the same whatever waits."""


def claim(connection: Connection, batch_id: UUID) -> int:
    """Put accepted transfers into the batch, and leave them `accepted`. Isolation uses this.

    Each client with waiting transfers gets an equal share, however much the others have waiting;
    what that leaves goes to those that have waited longest. Of a client it takes those that have
    waited longest. It leaves out what another reserve is claiming. A batch that has transfers
    already stays as it is.
    Returns: their number, at most CLAIM_LIMIT.
    """
    return connection.execute(_CLAIM, {"batch": batch_id, "first_turn": uuid4()}).rowcount


def take(connection: Connection, batch_id: UUID, *, claimed: bool = False) -> int:
    """Claim transfers as `claim` does, and mark them as reserved. The step uses this.

    claimed: the batch has its transfers, claim no more.

    A batch that has transfers already (after a re-drive or a cut) claims none: its own are
    marked, unless some of them have been reserved before. So all reserved transfers of the batch
    are those marked here. One update claims and marks, because it is the larger part of a
    reserve's cost. It comes before the checks; no other transaction sees it before this one ends.
    Returns: their number, at most CLAIM_LIMIT.
    """
    argument = {"batch": batch_id, "first_turn": uuid4()}
    count = 0
    if not claimed:
        count = connection.execute(
            _CLAIM_AS_RESERVED, argument, execution_options=PREPARED
        ).rowcount
    return count or connection.execute(_TAKE, argument).rowcount


def set_unmet_apart(connection: Connection, batch_id: UUID, *, worker: str) -> Unmet:
    """Decide, in order of acceptance, which of the transfers just taken get no money now.

    The source wallets must be locked. `take` has marked all of them as reserved. Those that are
    rejected are set back to `accepted` and get their failure code; those that wait for an earlier
    transfer leave the batch. So no money moves for either. While another reserve decides about
    such transfers, and does not end, these leave the batch unjudged, for a later reserve.
    """
    argument = {"batch": batch_id}
    rows = connection.execute(_CONTESTED, argument, execution_options=PREPARED).all()
    if rows and not waits.try_lock(connection):
        # Another reserve holds it for long. Those that need no judgement do not wait for it.
        ids = [row.transfer_id for row in rows]
        connection.execute(_PUT_BACK_UNJUDGED, {"ids": array_literal(ids)})
        return Unmet([], [], unjudged=len(ids))
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

# Waiting for a claim, and not for an earlier transfer that brings money.
_is_claimable = _u.batch_id.is_(None) & _u.waits_for.is_(None)


def _turns(name: str, *bounds: ColumnElement[bool]) -> CTE:
    """Select the turns that have waiting transfers, in order: one look into the index for each.

    Nothing but the first MAX_TURNS of them is ever read.
    """
    first = select(_u.turn).where(_is_claimable, *bounds).order_by(_u.turn).limit(1)
    turns = first.subquery(f"{name}_first").select().cte(name, recursive=True)
    after = select(_u.turn).where(_is_claimable, *bounds, _u.turn > turns.c.turn)
    following = after.order_by(_u.turn).limit(1).lateral(f"{name}_next")
    return turns.union_all(select(following.c.turn).select_from(turns.join(following, true())))


def _build_claimed() -> CompoundSelect[Any]:
    """Select the transfers to claim, and lock them.

    If more than MAX_TURNS clients wait, those get a share whose turns follow a random one: so
    each client gets its share in one claim of a few, and nobody is left out for long.
    Common table expressions, because each runs exactly once. The planner may run a subquery again
    for each row of the table: each run would then lock the next CLAIM_LIMIT, until all are claimed.
    """
    first_turn = bindparam("first_turn", type_=Uuid())
    upper, lower = _turns("upper", _u.turn >= first_turn), _turns("lower", _u.turn < first_turn)
    both = union_all(select(upper.c.turn), select(lower.c.turn)).limit(MAX_TURNS)
    in_turn = both.cte("in_turn")
    share = select(CLAIM_LIMIT // func.greatest(func.count(), 1)).select_from(in_turn)
    waiting = select(_u.transfer_id).where(_is_claimable)
    # Not `==`, with which the planner may take the index on `seq`, and read all other clients'.
    of_client = (
        waiting.where(_u.turn >= in_turn.c.turn, _u.turn <= in_turn.c.turn)
        .order_by(_u.turn, _u.seq)
        .limit(share.scalar_subquery())
        .with_for_update(skip_locked=True)
        .lateral("of_client")
    )
    shared = select(of_client.c.transfer_id).select_from(in_turn.join(of_client, true()))
    # They are no more than that; it tells the planner.
    shares = shared.limit(CLAIM_LIMIT).cte("shares")
    left = select(CLAIM_LIMIT - func.count()).select_from(shares)
    longest_waiting = (
        waiting.where(_u.transfer_id.not_in(select(shares.c.transfer_id)))
        .order_by(_u.seq)
        .limit(left.scalar_subquery())
        .with_for_update(skip_locked=True)
        .cte("longest_waiting")
    )
    return union_all(select(shares.c.transfer_id), select(longest_waiting.c.transfer_id))


_RESERVED = {
    "state": "reserved",
    "reserved_at": func.statement_timestamp(),
    "moved_at": func.statement_timestamp(),
}


def build_claim() -> Update:
    """Build the statement of a claim, which leaves its transfers `accepted`."""
    return (
        update(schema.unfinished)
        .where(_u.transfer_id.in_(_build_claimed()), ~_mates)
        .values(batch_id=bindparam("batch"), moved_at=func.statement_timestamp())
    )


_CLAIM = build_claim()
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
        .where(or_(asked.c.total + ahead.c.total > available, ahead.c.count >= AHEAD_LIMIT))
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

_PUT_BACK_UNJUDGED = (
    update(schema.unfinished)
    .where(_u.transfer_id == func.any(cast(bindparam("ids", type_=Text()), ARRAY(Uuid))))
    .values(state="accepted", reserved_at=None, batch_id=None)
)

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
