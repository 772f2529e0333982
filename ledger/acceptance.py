"""Accepting transfers: from a checked request to a row that will not be lost.

Guarantees that one (client, idempotency key) is accepted once, whoever asks, however
often and however many at once; and that a request which is refused here leaves either
nothing behind (it was wrong) or a recorded refusal (it was decided).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Connection,
    LargeBinary,
    Text,
    Uuid,
    bindparam,
    cast,
    exists,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from ledger.clients import Client
from ledger.errors import (
    AssetMismatch,
    Forbidden,
    IdempotencyKeyReused,
    Invalid,
    InvariantBroken,
    Rejection,
    SameWallet,
    WalletNotFound,
)
from ledger.ids import transfer_id
from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, array_literal, rows_argument, rows_parameter
from ledger.postgres.schema import MinorUnits
from ledger.rejections import Terms, refusal
from ledger.transfers import Failure, TimelineEntry, Transfer, build_transfer, find_transfers


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """What a client asks for, its fields checked one by one but not against the database."""

    client: Client
    idempotency_key: str
    source_id: UUID
    destination_id: UUID
    asset: str
    scale: int
    amount_minor: int
    """In minor units of the asset, above zero."""
    reference: str | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The one transfer that this key stands for, as it was when asked."""

    transfer: Transfer
    replayed: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A request that may become a row, and the verdict on it."""

    id: UUID
    request: TransferRequest
    fingerprint: bytes
    source_owner_id: UUID | None
    destination_owner_id: UUID | None
    invalid: Invalid | None
    """What keeps it from being recorded."""
    refusal: Rejection | None
    """What it is recorded as refused for."""


def accept(connection: Connection, requests: list[TransferRequest]) -> list[Acceptance | Invalid]:
    """Record each request, or find the transfer that its key stands for already.

    Returns: per request, in order, an Answer (whose transfer may be `rejected`: a
    decided refusal) or the Invalid error that kept it from being recorded.
    A second call with the same requests changes nothing and answers replays.
    """
    wallets = _wallets_of(connection, requests)
    judged = [_judge(request, wallets) for request in requests]
    candidates: dict[UUID, _Candidate] = {}
    for candidate in judged:
        if candidate.invalid is None:
            candidates.setdefault(candidate.id, candidate)
    recorded = _record(connection, list(candidates.values()))
    # A key that was used before answers for what it was used for, also to a wrong request.
    used = list({each.id for each in judged} - recorded.keys())
    known = find_transfers(connection, used) if used else {}
    known |= {id: _new_transfer(candidates[id], at) for id, at in recorded.items()}
    return [
        _answer(
            each, known.get(each.id), is_new=each.id in recorded and each is candidates[each.id]
        )
        for each in judged
    ]


def _answer(candidate: _Candidate, known: Transfer | None, *, is_new: bool) -> Acceptance | Invalid:
    if candidate.invalid is not None and known is None:
        return candidate.invalid
    if known is None:
        raise InvariantBroken("A transfer is neither new nor known.")
    if known.fingerprint != candidate.fingerprint:
        return IdempotencyKeyReused()
    return Acceptance(known, replayed=not is_new)


def invalid_by_itself(request: TransferRequest) -> Invalid | None:
    """What is wrong with a request, as far as that can be told without the database."""
    return SameWallet() if request.source_id == request.destination_id else None


def fingerprint(request: TransferRequest) -> bytes:
    """What makes two requests with one key the same request: SHA-256 over its content."""
    content = [
        str(request.source_id),
        str(request.destination_id),
        request.asset,
        request.amount_minor,
        "auto",
        request.reference,
        request.metadata or {},
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def _wallets_of(connection: Connection, requests: list[TransferRequest]) -> dict[UUID, Any]:
    ids = {request.source_id for request in requests}
    ids |= {request.destination_id for request in requests}
    rows = connection.execute(_WALLETS, {"ids": array_literal(ids)})
    return {row.id: row for row in rows}


_w = schema.wallets.c
_WALLETS = select(
    _w.id,
    _w.owner_id,
    _w.asset,
    _w.kind,
    _w.status,
    (_w.balance - _w.reserved - _w.incoming).label("available"),
).where(_w.id == func.any(cast(bindparam("ids", type_=Text()), ARRAY(Uuid))))


def _judge(request: TransferRequest, wallets: dict[UUID, Any]) -> _Candidate:
    source = wallets.get(request.source_id)
    destination = wallets.get(request.destination_id)
    invalid = _invalid(request, source, destination)
    return _Candidate(
        id=transfer_id(request.client.id, request.idempotency_key),
        request=request,
        fingerprint=fingerprint(request),
        source_owner_id=source and source.owner_id,
        destination_owner_id=destination and destination.owner_id,
        invalid=invalid,
        refusal=None if invalid else _refusal(request, source, destination),
    )


def _invalid(request: TransferRequest, source: Any, destination: Any) -> Invalid | None:
    """What is wrong with a request for these wallet rows; the first of the checks counts."""
    client = request.client
    if wrong := invalid_by_itself(request):
        return wrong
    if source is None or source.kind == "transit":
        return WalletNotFound("There is no such source wallet, or it is not yours.")
    if not client.is_admin and source.owner_id != client.id:
        return WalletNotFound("There is no such source wallet, or it is not yours.")
    if destination is None or destination.kind == "transit":
        return WalletNotFound("There is no such destination wallet.")
    if not client.is_admin and source.kind == "external":
        return Forbidden("Only an admin moves money in from an external wallet.")
    if not request.asset == source.asset == destination.asset:
        return AssetMismatch()
    return None


def _refusal(request: TransferRequest, source: Any, destination: Any) -> Rejection | None:
    terms = Terms(request.amount_minor, source.kind, source.status, destination.status)
    return refusal(terms, available_minor=int(source.available))


_INPUT: Columns = {
    "id": Uuid(),
    "client_id": Uuid(),
    "idempotency_key": Text(),
    "fingerprint": LargeBinary(),
    "source_id": Uuid(),
    "destination_id": Uuid(),
    "source_owner_id": Uuid(),
    "destination_owner_id": Uuid(),
    "asset": Text(),
    "amount": MinorUnits,
    "reference": Text(),
    "metadata": Text(),
    "failure_code": Text(),
    "failure_detail": Text(),
}


def _build_record() -> Any:
    """One statement: the new transfers, and for each either its place in line or its refusal."""
    given = rows_parameter("given", _INPUT)
    copied = [name for name in _INPUT if name not in ("metadata", "failure_code", "failure_detail")]
    # What was refused after it had been buffered stays refused, see `ledger.buffer.rejected`.
    is_refused = exists().where(schema.refused_requests.c.id == given.c.id)
    # In id order, so that two calls with the same keys wait for each other, never deadlock.
    new = (
        insert(schema.transfers)
        .from_select(
            [*copied, "metadata"],
            select(*(given.c[name] for name in copied), cast(given.c.metadata, JSONB))
            .where(~is_refused)
            .order_by(given.c.id),
        )
        .on_conflict_do_nothing()
        .returning(schema.transfers.c.id, schema.transfers.c.created_at)
        .cte("new")
    )
    joined = new.join(given, given.c.id == new.c.id)
    # In the order given, since `seq` is the order in which they will be reserved.
    transit = schema.wallets.alias("transit")
    of_asset = (transit.c.asset == given.c.asset) & (transit.c.kind == "transit")
    in_line = insert(schema.unfinished).from_select(
        ["transfer_id", "source_id", "transit_id", "destination_id", "amount"],
        select(new.c.id, given.c.source_id, transit.c.id, given.c.destination_id, given.c.amount)
        # Outer: an asset without its transit wallet must be an error, not a transfer without
        # a place in line.
        .select_from(joined.outerjoin(transit, of_asset))
        .where(given.c.failure_code.is_(None))
        .order_by(given.c.position),
    )
    refused = insert(schema.outcomes).from_select(
        ["transfer_id", "state", "failure_code", "failure_detail"],
        select(new.c.id, literal("rejected"), given.c.failure_code, given.c.failure_detail)
        .select_from(joined)
        .where(given.c.failure_code.is_not(None)),
    )
    written = select(new.c.id, new.c.created_at)
    return written.add_cte(in_line.cte("in_line"), refused.cte("refused"))


_RECORD = _build_record()


def _record(connection: Connection, candidates: list[_Candidate]) -> dict[UUID, datetime]:
    """Write those that are new. Returns: when each of them was written, by id."""
    if not candidates:
        return {}
    argument = rows_argument(_INPUT, map(_row, candidates))
    return {row.id: row.created_at for row in connection.execute(_RECORD, argument)}


def _row(candidate: _Candidate) -> tuple[Any, ...]:
    request, refused = candidate.request, candidate.refusal
    return (
        candidate.id,
        request.client.id,
        request.idempotency_key,
        candidate.fingerprint,
        request.source_id,
        request.destination_id,
        candidate.source_owner_id,
        candidate.destination_owner_id,
        request.asset,
        request.amount_minor,
        request.reference,
        json.dumps(request.metadata or {}),
        refused and refused.code,
        refused and refused.detail,
    )


def _new_transfer(candidate: _Candidate, created_at: datetime) -> Transfer:
    refused = candidate.refusal
    return build_transfer(
        candidate.request,
        id=candidate.id,
        amount_minor=candidate.request.amount_minor,
        fingerprint=candidate.fingerprint,
        state="rejected" if refused else "accepted",
        failure=Failure(refused.code, refused.detail) if refused else None,
        created_at=created_at,
        updated_at=created_at,
        steps=_first_steps(refused, created_at),
    )


def _first_steps(refused: Rejection | None, created_at: datetime) -> tuple[TimelineEntry, ...]:
    accepted = TimelineEntry("accepted", created_at)
    if refused is None:
        return (accepted,)
    return (accepted, TimelineEntry("rejected", created_at, detail=refused.detail))
