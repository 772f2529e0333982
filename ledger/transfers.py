"""Transfers as they are read: one, a list, and the timeline of one.

Guarantees that a client sees only transfers that touch its own wallets. Writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
    tuple_,
    union,
)

from ledger.clients import Client
from ledger.errors import NotFound
from ledger.postgres import schema
from ledger.states import UNFINISHED, State

Capture = Literal["auto", "manual"]


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a transfer was not committed. The code is part of the HTTP contract."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One moment of a transfer: a step, or an unusual event."""

    event: str
    at: datetime
    worker: str | None = None
    attempt: int | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer in its present state. Amounts in minor units of its asset."""

    id: UUID
    client_id: UUID
    """The client that submitted it; nobody else is shown its key."""
    idempotency_key: str
    source_id: UUID
    destination_id: UUID
    asset: str
    scale: int
    amount_minor: int
    state: State
    capture: Capture
    expires_at: datetime | None
    reference: str | None
    metadata: dict[str, Any]
    failure: Failure | None
    refund_of: UUID | None
    refunded_minor: int
    group_id: UUID | None
    created_at: datetime
    updated_at: datetime
    fingerprint: bytes = field(repr=False)
    steps: tuple[TimelineEntry, ...] = field(default=(), repr=False)
    """Its steps up to `state`, in order."""


@dataclass(frozen=True, slots=True)
class TransferFilter:
    """The conditions on a list of transfers; None means no condition on that field."""

    id: UUID | None = None
    wallet_id: UUID | None = None
    state: State | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def get_transfer(connection: Connection, transfer_id: UUID, *, caller: Client) -> Transfer:
    """Return a transfer. Raises: NotFound: when there is none, or the caller may not see it."""
    query = _transfers().where(_t.id == transfer_id)
    if not caller.is_admin:
        query = query.where(
            or_(_t.source_owner_id == caller.id, _t.destination_owner_id == caller.id)
        )
    row = connection.execute(query).one_or_none()
    if row is not None:
        return _transfer(row)
    # A rejected buffered request: only its own client may see it, whichever wallets it names.
    query = select(schema.refused_requests).where(_r.id == transfer_id)
    row = connection.execute(query).one_or_none()
    if row is None or not (caller.is_admin or row.client_id == caller.id):
        raise NotFound
    return _rejected_transfer(row)


def find_transfers(connection: Connection, transfer_ids: list[UUID]) -> dict[UUID, Transfer]:
    """Return those of the transfers that exist, by id, without regard to the caller."""
    rows = connection.execute(_transfers().where(_t.id == func.any(transfer_ids)))
    found = {row.id: _transfer(row) for row in rows}
    missing = [id for id in transfer_ids if id not in found]
    if missing:
        rejected = connection.execute(select(schema.refused_requests).where(_r.id.in_(missing)))
        found |= {row.id: _rejected_transfer(row) for row in rejected}
    return found


def finished_among(connection: Connection, transfer_ids: list[UUID]) -> set[UUID]:
    """Return the ids of those transfers that have ended."""
    query = select(_o.transfer_id).where(_o.transfer_id == func.any(transfer_ids))
    return set(connection.scalars(query))


def list_transfers(
    connection: Connection,
    *,
    caller: Client,
    limit: int,
    after: tuple[datetime, UUID] | None,
    narrow: TransferFilter,
) -> list[Transfer]:
    """Return the transfers that touch the caller's wallets (for an admin: all), newest first.

    after: (created_at, id) of the last transfer of the previous page.
    """
    wanted = [
        _newest(side, after=after, narrow=narrow).limit(limit).subquery().select()
        for side in touching(caller, narrow, _t)
    ]
    ids = union(*wanted).subquery() if len(wanted) > 1 else wanted[0].subquery()
    newest = (
        select(ids.c.id).order_by(ids.c.created_at.desc(), ids.c.id.desc()).limit(limit).subquery()
    )
    query = _transfers().where(_t.id.in_(select(newest.c.id)))
    rows = connection.execute(query.order_by(_t.created_at.desc(), _t.id.desc()))
    return [_transfer(row) for row in rows]


def timeline(connection: Connection, transfer: Transfer) -> list[TimelineEntry]:
    """Return the steps of a transfer as it was read, and its unusual events, in order of time."""
    table = schema.events
    query = (
        select(table.c.event, table.c.at, table.c.worker, table.c.attempt, table.c.detail)
        .where(table.c.transfer_id == transfer.id)
        .order_by(table.c.id)
        .limit(MAX_EVENTS)
    )
    unusual = [TimelineEntry(*row) for row in connection.execute(query)]
    # The sort is stable: at the same time, a step comes after the event that led to it.
    return sorted([*unusual, *transfer.steps], key=lambda entry: entry.at)


MAX_EVENTS = 500

_t, _u, _o = schema.transfers.c, schema.unfinished.c, schema.outcomes.c
_r = schema.refused_requests.c
_JOINED = (
    schema.transfers.join(schema.assets, schema.assets.c.code == _t.asset)
    .outerjoin(schema.unfinished, _u.transfer_id == _t.id)
    .outerjoin(schema.outcomes, _o.transfer_id == _t.id)
)


def _transfers() -> Select[Any]:
    return select(
        *(column for column in schema.transfers.c if column.name not in _NOT_READ),
        schema.assets.c.scale,
        func.coalesce(_o.state, _u.state).label("state"),
        _o.failure_code,
        _o.failure_detail,
        func.coalesce(_o.finished_at, _u.moved_at).label("updated_at"),
        _o.finished_at,
        *(func.coalesce(_o[name], _u[name]).label(name) for name in _IN_EITHER),
    ).select_from(_JOINED)


_IN_EITHER = ("batch_id", "reserved_at", "deducted_at", "credited_at")
_NOT_READ = {
    *("source_owner_id", "destination_owner_id"),
    "recorded_order",
}


def touching(caller: Client, narrow: TransferFilter, columns: Any) -> list[ColumnElement[bool]]:
    """Return the conditions of which a transfer that the caller may list fulfils one or more.

    One for each index to be read: on the source, and on the destination.
    columns: of the transfers.
    """
    mine = (columns.source_owner_id == caller.id, columns.destination_owner_id == caller.id)
    if narrow.wallet_id is not None:
        sides = [columns.source_id == narrow.wallet_id, columns.destination_id == narrow.wallet_id]
        return sides if caller.is_admin else [and_(side, or_(*mine)) for side in sides]
    return [literal(True)] if caller.is_admin else list(mine)


def _newest(
    side: ColumnElement[bool], *, after: tuple[datetime, UUID] | None, narrow: TransferFilter
) -> Select[Any]:
    query = select(_t.id, _t.created_at).where(side)
    if narrow.id is not None:
        query = query.where(_t.id == narrow.id)
    if narrow.state is not None:
        table = schema.unfinished if narrow.state in UNFINISHED else schema.outcomes
        in_state = select(table.c.transfer_id).where(table.c.state == narrow.state)
        query = query.where(_t.id.in_(in_state))
    if narrow.created_after is not None:
        query = query.where(_t.created_at > narrow.created_after)
    if narrow.created_before is not None:
        query = query.where(_t.created_at < narrow.created_before)
    if after is not None:
        query = query.where(tuple_(_t.created_at, _t.id) < tuple_(*map(literal, after)))
    return query.order_by(_t.created_at.desc(), _t.id.desc())


def build_transfer(  # noqa: PLR0913 - one for each column that differs between the sources
    asked: Any,
    *,
    id: UUID,
    client_id: UUID,
    amount_minor: int,
    fingerprint: bytes,
    state: State,
    failure: Failure | None,
    created_at: datetime,
    updated_at: datetime,
    steps: tuple[TimelineEntry, ...],
    capture: Capture = "auto",
    expires_at: datetime | None = None,
    refund_of: UUID | None = None,
    group_id: UUID | None = None,
) -> Transfer:
    """Build a transfer from the request and its result.

    asked: a row or a request with idempotency_key, source_id, destination_id, asset, scale,
    reference and metadata.
    """
    return Transfer(
        id=id,
        client_id=client_id,
        idempotency_key=asked.idempotency_key,
        source_id=asked.source_id,
        destination_id=asked.destination_id,
        asset=asked.asset,
        scale=asked.scale,
        amount_minor=amount_minor,
        state=state,
        capture=capture,
        expires_at=expires_at,
        reference=asked.reference,
        metadata=asked.metadata or {},
        failure=failure,
        refund_of=refund_of,
        refunded_minor=0,
        group_id=group_id,
        created_at=created_at,
        updated_at=updated_at,
        fingerprint=fingerprint,
        steps=steps,
    )


def _transfer(row: Any) -> Transfer:
    steps = (
        ("accepted", row.created_at, None),
        ("reserved", row.reserved_at, row.batch_id and f"batch {row.batch_id}"),
        ("deducted", row.deducted_at, None),
        ("credited", row.credited_at, None),
        (row.state, row.finished_at, row.failure_detail),
    )
    return build_transfer(
        row,
        id=row.id,
        client_id=row.client_id,
        amount_minor=int(row.amount),
        fingerprint=bytes(row.fingerprint),
        state=cast(State, row.state),
        failure=Failure(row.failure_code, row.failure_detail) if row.failure_code else None,
        created_at=row.created_at,
        updated_at=row.updated_at,
        steps=tuple(TimelineEntry(event, at, detail=detail) for event, at, detail in steps if at),
        capture=row.capture,
        expires_at=row.expires_at,
        refund_of=row.refund_of,
        group_id=row.group_id,
    )


def _rejected_transfer(row: Any) -> Transfer:
    """Build a rejected transfer from a row of `refused_requests`."""
    return build_transfer(
        row,
        id=row.id,
        client_id=row.client_id,
        amount_minor=int(row.amount),
        fingerprint=bytes(row.fingerprint),
        state="rejected",
        failure=Failure(row.failure_code, row.failure_detail),
        created_at=row.buffered_at,
        updated_at=row.refused_at,
        steps=(
            TimelineEntry("buffered", row.buffered_at),
            TimelineEntry("rejected", row.refused_at, detail=row.failure_detail),
        ),
    )
