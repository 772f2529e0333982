"""Requests that were answered with `buffered` and could not become transfers.

They name a wallet that does not exist, or is not the client's, so they cannot stand among the
transfers. They are kept beside them and read as `rejected`, for good: the same key gets the
same refusal for ever.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, DateTime, Integer, LargeBinary, Text, Uuid, cast, exists, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from ledger.acceptance import fingerprint
from ledger.buffer.entries import Buffered
from ledger.errors import LedgerError
from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, rows_argument, rows_parameter
from ledger.postgres.schema import MinorUnits


def refuse(connection: Connection, refusals: Sequence[tuple[Buffered, LedgerError]]) -> None:
    """Record each request as refused for its reason. A second call changes nothing.

    A transfer that has the same id stays what it is.
    """
    if refusals:
        connection.execute(_REFUSE, rows_argument(_COLUMNS, map(_row, refusals)))


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


def _row(refusal: tuple[Buffered, LedgerError]) -> tuple[Any, ...]:
    buffered, reason = refusal
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
        json.dumps(request.metadata or {}),
        reason.code,
        reason.detail,
        buffered.at.isoformat(),
    )


def _build_refuse() -> Any:
    given = rows_parameter("given", _COLUMNS)
    copied = [
        cast(given.c[name], JSONB) if name == "metadata" else given.c[name] for name in _COLUMNS
    ]
    is_transfer = exists().where(schema.transfers.c.id == given.c.id)
    rows = select(*copied).where(~is_transfer).order_by(given.c.id)
    table = schema.refused_requests
    return insert(table).from_select(list(_COLUMNS), rows).on_conflict_do_nothing()


_REFUSE = _build_refuse()
