"""Rejected buffered requests: those that were answered with `buffered` and found invalid later.

They name, for example, a wallet that does not exist, so they cannot be rows of `transfers`. They
are kept in a table of their own and read as `rejected`: the same key always gets the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, DateTime, Integer, LargeBinary, Text, Uuid, cast, exists, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from ledger.acceptance import fingerprint
from ledger.buffer.entries import Buffered
from ledger.errors import LedgerError
from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, rows_argument, rows_parameter
from ledger.postgres.columns import MinorUnits


def record_rejections(
    connection: Connection, rejections: Sequence[tuple[Buffered, LedgerError]]
) -> None:
    """Record each request as rejected, with its reason. A second call changes nothing.

    A transfer with the same id stays as it is.
    """
    if rejections:
        connection.execute(_RECORD, rows_argument(_COLUMNS, map(_row, rejections)))


_COLUMNS: Columns = {
    "id": Uuid(),
    "client_id": Uuid(),
    "idempotency_key": Text(),
    "fingerprint": LargeBinary(),
    "source_id": Uuid(),
    "destination_id": Uuid(),
    "asset": Text(),
    "scale": Integer(),
    "amount": MinorUnits,
    "reference": Text(),
    "metadata": Text(),
    "failure_code": Text(),
    "failure_detail": Text(),
    "buffered_at": DateTime(timezone=True),
}


def _row(rejection: tuple[Buffered, LedgerError]) -> tuple[Any, ...]:
    buffered, reason = rejection
    request = buffered.request
    return (
        buffered.id,
        request.client.id,
        request.idempotency_key,
        fingerprint(request),
        request.source_id,
        request.destination_id,
        request.asset,
        request.scale,
        request.amount_minor,
        request.reference,
        "{}",  # as of any other rejection, see `ledger.acceptance`
        reason.code,
        reason.detail,
        buffered.at.isoformat(),
    )


_given = rows_parameter("given", _COLUMNS)
_copied = [
    cast(_given.c[name], JSONB) if name == "metadata" else _given.c[name] for name in _COLUMNS
]
_is_transfer = exists().where(schema.transfers.c.id == _given.c.id)
_RECORD = (
    insert(schema.refused_requests)
    .from_select(list(_COLUMNS), select(*_copied).where(~_is_transfer).order_by(_given.c.id))
    .on_conflict_do_nothing()
)
