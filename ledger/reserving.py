"""What only reserve does: claiming what was accepted, and refusing what does not fit."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    Select,
    Text,
    Uuid,
    bindparam,
    func,
    or_,
    select,
    update,
)

from ledger import schema
from ledger.refusals import Claim, Terms, decide
from ledger.rows import rows_argument, rows_parameter

CLAIM_LIMIT = 1_000
"""The most transfers that one reserve claims: the size of a batch."""


def claim(connection: Connection, batch_id: UUID) -> int:
    """Put the transfers that waited longest, and nobody else is claiming, into the batch.

    Returns: how many, at most CLAIM_LIMIT.
    """
    return connection.execute(_CLAIM, {"batch": batch_id}).rowcount


def fail_what_does_not_fit(connection: Connection, batch_id: UUID) -> int:
    """Decide, in order of acceptance, which of the batch's accepted transfers are refused.

    The source wallets must be locked. The refused ones carry their failure afterwards.
    Returns: how many were refused.
    """
    rows = connection.execute(_CONTESTED, {"batch": batch_id})
    refused = decide(
        Claim(
            transfer_id=row.transfer_id,
            source_id=row.source_id,
            source_available=int(row.source_available),
            terms=Terms(
                int(row.amount), row.source_kind, row.source_status, row.destination_status
            ),
        )
        for row in rows
    )
    if refused:
        failures = ((transfer_id, error.code, error.detail) for transfer_id, error in refused)
        connection.execute(_FAIL, rows_argument(_FAILURE, failures))
    return len(refused)


_u, _t = schema.unfinished.c, schema.transfers.c

_LONGEST_WAITING = (
    select(_u.transfer_id)
    .where(_u.batch_id.is_(None))
    .order_by(_u.seq)
    .limit(CLAIM_LIMIT)
    .with_for_update(skip_locked=True)
)
_CLAIM = (
    update(schema.unfinished)
    .where(_u.transfer_id.in_(_LONGEST_WAITING))
    .values(batch_id=bindparam("batch"))
)


def _build_contested() -> Select[Any]:
    """The accepted transfers that may have to be refused.

    Those of a source that has enough for all it is asked for are settled by the sum
    alone, which is nearly always all of them; only the rest is looked at one by one.
    """
    source, destination = schema.wallets.alias("source"), schema.wallets.alias("destination")
    asked = (
        select(
            _u.transfer_id,
            _u.seq,
            _t.source_id,
            _t.amount,
            source.c.kind.label("source_kind"),
            source.c.status.label("source_status"),
            (source.c.balance - source.c.reserved - source.c.incoming).label("source_available"),
            destination.c.status.label("destination_status"),
            func.sum(_t.amount).over(partition_by=_t.source_id).label("asked_of_source"),
        )
        .select_from(
            schema.unfinished.join(schema.transfers, _t.id == _u.transfer_id)
            .join(source, source.c.id == _t.source_id)
            .join(destination, destination.c.id == _t.destination_id)
        )
        .where(_u.batch_id == bindparam("batch"), _u.state == "accepted")
        .where(_u.failure_code.is_(None))
        .subquery()
    )
    return (
        select(asked)
        .where(
            or_(
                asked.c.source_status != "active",
                asked.c.destination_status != "active",
                (asked.c.source_kind != "external")
                & (asked.c.asked_of_source > asked.c.source_available),
            )
        )
        .order_by(asked.c.seq)
    )


_CONTESTED = _build_contested()

_FAILURE = {"transfer_id": Uuid(), "failure_code": Text(), "failure_detail": Text()}
_given = rows_parameter("given", _FAILURE)
_FAIL = (
    update(schema.unfinished)
    .where(_u.transfer_id == _given.c.transfer_id)
    .values(failure_code=_given.c.failure_code, failure_detail=_given.c.failure_detail)
)
