"""Acceptance of transfers: turns a checked request into a row that will not be lost.

Guarantees that one (client, idempotency key) is accepted once, however often it is sent and
however many copies arrive at once. An invalid request leaves nothing behind. A valid request
that the rules do not allow is recorded as a rejection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    LargeBinary,
    Text,
    Uuid,
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
    InsufficientFunds,
    Invalid,
    InvariantBroken,
    Rejection,
    SameWallet,
    WalletNotFound,
)
from ledger.funds.door import OnLack, Prospects, Undecided, read_prospects, read_wallets
from ledger.ids import transfer_id
from ledger.postgres import exact_json, schema
from ledger.postgres.bulk_rows import Columns, rows_argument, rows_parameter
from ledger.postgres.columns import MinorUnits
from ledger.rejections import Terms, rejection
from ledger.transfers import Failure, TimelineEntry, Transfer, build_transfer, find_transfers


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """The request of a client. Its fields are checked one by one, not against the database."""

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
    key_id: UUID | None = None  # of the API key that it was sent with, if that is known


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The transfer that a key stands for, in its state at the time of the request."""

    transfer: Transfer
    replayed: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A request that may become a row, and the result of its checks."""

    id: UUID
    request: TransferRequest
    fingerprint: bytes
    source_owner_id: UUID | None
    destination_owner_id: UUID | None
    invalid: Invalid | None
    """Why it cannot be recorded."""
    rejection: Rejection | None
    """Why it is recorded as rejected."""

    @property
    def lacks_funds(self) -> bool:
        return isinstance(self.rejection, InsufficientFunds)


def accept(
    connection: Connection,
    requests: list[TransferRequest],
    *,
    on_lack: Callable[[], OnLack] = lambda: "refuse",
) -> list[Acceptance | Invalid | Undecided]:
    """Record each request, or find the transfer that its key stands for already.

    on_lack: asked only if a request lacks funds.
    Returns: per request, in order, an Acceptance (whose transfer may be `rejected`), the Invalid
    error because of which it was not recorded, or Undecided, when `on_lack` says `leave`.
    A second call with the same requests changes nothing and answers with replays.
    """
    wallet_ids = {request.source_id for request in requests}
    wallet_ids |= {request.destination_id for request in requests}
    wallets = read_wallets(connection, wallet_ids)
    evaluated = [_evaluate(request, wallets) for request in requests]
    lacking = {each.request.source_id for each in evaluated if each.lacks_funds}
    decision = on_lack() if lacking else "refuse"
    if lacking and decision != "leave":
        # The money is read again, with what is on its way, at one moment: it may have come.
        prospects = read_prospects(connection, lacking) if decision == "refuse" else {}
        evaluated = _lift_refusals(evaluated, prospects)
    left = lacking if decision == "leave" else set()
    candidates: dict[UUID, _Candidate] = {}
    for candidate in evaluated:
        if candidate.invalid is None and candidate.request.source_id not in left:
            candidates.setdefault(candidate.id, candidate)
    recorded = _record(connection, list(candidates.values()))
    # A used key is answered by the transfer that it stands for, even if this request is invalid.
    used = list({each.id for each in evaluated} - recorded.keys())
    known = find_transfers(connection, used) if used else {}
    known |= {id: _new_transfer(candidates[id], at) for id, at in recorded.items()}
    return [
        _answer(
            each,
            known.get(each.id),
            is_new=each.id in recorded and each is candidates[each.id],
            is_left=each.request.source_id in left,
        )
        for each in evaluated
    ]


def _answer(
    candidate: _Candidate, known: Transfer | None, *, is_new: bool, is_left: bool
) -> Acceptance | Invalid | Undecided:
    if candidate.invalid is not None and known is None:
        return candidate.invalid
    if known is None and is_left:
        return Undecided()
    if known is None:
        raise InvariantBroken("A transfer is neither new nor known.")
    if known.fingerprint != candidate.fingerprint:
        return IdempotencyKeyReused()
    return Acceptance(known, replayed=not is_new)


def invalid_by_itself(request: TransferRequest) -> Invalid | None:
    """Return what makes a request invalid, as far as it shows without the database."""
    return SameWallet() if request.source_id == request.destination_id else None


def fingerprint(request: TransferRequest) -> bytes:
    """Return a SHA-256 of the content: requests with one key are repeats if it is the same.

    It is stored, so its input must never change.
    """
    content = [
        str(request.source_id),
        str(request.destination_id),
        request.asset,
        request.amount_minor,
        "auto",
        request.reference,
        request.metadata or {},
    ]
    return hashlib.sha256(exact_json.for_digest(content)).digest()


def _evaluate(request: TransferRequest, wallets: dict[UUID, Any]) -> _Candidate:
    source: Any = wallets.get(request.source_id)
    destination: Any = wallets.get(request.destination_id)
    invalid, reason = _invalid(request, source, destination), None
    if invalid is None:
        terms = Terms(request.amount_minor, source.kind, source.status, destination.status)
        reason = rejection(terms, available_minor=int(source.available))
    return _Candidate(
        id=transfer_id(request.client.id, request.idempotency_key),
        request=request,
        fingerprint=fingerprint(request),
        source_owner_id=source and source.owner_id,
        destination_owner_id=destination and destination.owner_id,
        invalid=invalid,
        rejection=reason,
    )


def _lift_refusals(
    candidates: list[_Candidate], prospects: Mapping[UUID, Prospects]
) -> list[_Candidate]:
    """Lift refusals for lack of funds, but for those that nothing accepted earlier can change.

    prospects: of the sources that lack funds; a source without any is expected to receive more.
    """
    lifted, receivers = [], set()
    for each in candidates:
        source_id, prospect = each.request.source_id, prospects.get(each.request.source_id)
        may_pay = prospect is None or prospect.may_pay(each.request.amount_minor)
        is_lifted = each.lacks_funds and (may_pay or source_id in receivers)
        lifted.append(replace(each, rejection=None) if is_lifted else each)
        if lifted[-1].invalid is None and lifted[-1].rejection is None:
            receivers.add(each.request.destination_id)
    return lifted


def _invalid(request: TransferRequest, source: Any, destination: Any) -> Invalid | None:
    """Return what makes a request for these wallet rows invalid; the first check that fails."""
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
    if not source.has_transit:  # an asset that was inserted by hand
        return WalletNotFound(
            f"The asset {request.asset} has no transit wallet, so nothing can be transferred in "
            "it until an operator adds one."
        )
    return None


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
    """Build one statement: the new transfers, and the place in line or the rejection of each."""
    given = rows_parameter("given", _INPUT)
    copied = [name for name in _INPUT if name not in ("metadata", "failure_code", "failure_detail")]
    # A buffered request that was rejected stays rejected, see `ledger.buffer.rejected`.
    is_rejected = exists().where(schema.refused_requests.c.id == given.c.id)
    # In id order, so that two calls with the same keys wait for each other, never deadlock.
    new = (
        insert(schema.transfers)
        .from_select(
            [*copied, "metadata"],
            select(*(given.c[name] for name in copied), cast(given.c.metadata, JSONB))
            .where(~is_rejected)
            .order_by(given.c.id),
        )
        .on_conflict_do_nothing()
        .returning(schema.transfers.c.id, schema.transfers.c.created_at)
        .cte("new")
    )
    joined = new.join(given, given.c.id == new.c.id)
    # In the order of the requests, since `seq` is the order in which they will be reserved.
    transit = schema.wallets.alias("transit")
    of_asset = (transit.c.asset == given.c.asset) & (transit.c.kind == "transit")
    # A hash: the turns of all clients then lie evenly between the least and the greatest.
    turn = cast(func.md5(cast(given.c.client_id, Text)), Uuid)
    in_line = insert(schema.unfinished).from_select(
        ["transfer_id", "source_id", "transit_id", "destination_id", "amount", "turn"],
        select(
            new.c.id, given.c.source_id, transit.c.id, given.c.destination_id, given.c.amount, turn
        )
        # An outer join: an asset without its transit wallet must be an error, and not leave
        # a transfer without a place in line.
        .select_from(joined.outerjoin(transit, of_asset))
        .where(given.c.failure_code.is_(None))
        .order_by(given.c.position),
    )
    rejected = insert(schema.outcomes).from_select(
        ["transfer_id", "state", "failure_code", "failure_detail"],
        select(new.c.id, literal("rejected"), given.c.failure_code, given.c.failure_detail)
        .select_from(joined)
        .where(given.c.failure_code.is_not(None)),
    )
    written = select(new.c.id, new.c.created_at)
    return written.add_cte(in_line.cte("in_line"), rejected.cte("refused"))


_RECORD = _build_record()


def _record(connection: Connection, candidates: list[_Candidate]) -> dict[UUID, datetime]:
    """Write the new ones. Returns: when each of them was written, by id."""
    if not candidates:
        return {}
    argument = rows_argument(_INPUT, map(_row, candidates))
    # Planned at each use: a kept plan does not know whether it is for one request or for 5,000.
    return {row.id: row.created_at for row in connection.execute(_RECORD, argument)}


def _row(candidate: _Candidate) -> tuple[Any, ...]:
    request, reason = candidate.request, candidate.rejection
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
        # Without money a client cannot store any. The fingerprint covers it all the same.
        exact_json.dumps(request.metadata if request.metadata and reason is None else {}),
        reason and reason.code,
        reason and reason.detail,
    )


def _new_transfer(candidate: _Candidate, created_at: datetime) -> Transfer:
    reason = candidate.rejection
    steps = [TimelineEntry("accepted", created_at)]
    if reason is not None:
        steps.append(TimelineEntry("rejected", created_at, detail=reason.detail))
    return build_transfer(
        replace(candidate.request, metadata=None) if reason else candidate.request,
        id=candidate.id,
        client_id=candidate.request.client.id,
        amount_minor=candidate.request.amount_minor,
        fingerprint=candidate.fingerprint,
        state="rejected" if reason else "accepted",
        failure=Failure(reason.code, reason.detail) if reason else None,
        created_at=created_at,
        updated_at=created_at,
        steps=tuple(steps),
    )
