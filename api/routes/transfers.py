"""Transfers: submitting one, reading one, listing them."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response, request
from structlog.contextvars import bind_contextvars

from api.authentication import caller
from api.cursors import make_cursor, read_id_cursor
from api.idempotency import idempotency_key
from api.preferences import wait_seconds
from api.problems import Problem
from api.responses import json_response
from api.schemas.requests import NewTransfer, TransferQuery
from api.schemas.transfers import (
    TransferDetail,
    TransferList,
    buffered_detail,
    transfer_answer,
    transfer_detail,
)
from api.services import require_room, services
from api.transfer_requests import transfer_request
from api.transfer_responses import buffered_response, submitted_response
from api.validation import parse_body, parse_query, require_no_query
from api.waiting import Waited
from ledger.buffering import Buffered, Kept
from ledger.errors import Invalid, NotFound, Unreachable
from ledger.ids import transfer_id as transfer_id_of
from ledger.states import FINISHED
from ledger.transfers import Transfer, TransferFilter, get_transfer, list_transfers, timeline


def blueprint(prefix: str) -> Blueprint:
    """Return the routes below /transfers, but for the batches."""
    routes = Blueprint("transfers", __name__, url_prefix=f"{prefix}/transfers")
    routes.post("")(create)
    routes.get("")(index)
    routes.get("/<uuid:transfer_id>")(show)
    for action in ("capture", "void", "refund"):
        routes.post(f"/<uuid:transfer_id>/{action}", endpoint=action)(not_available_yet)
    return routes


def create() -> Response:
    """Submit a transfer; with Prefer: wait, also wait for its end."""
    require_room()
    key = idempotency_key()
    body = parse_body(NewTransfer)
    submitted = transfer_request(
        body, client=caller(), idempotency_key=key, scales=services().scales
    )
    bind_contextvars(transfer_id=str(transfer_id_of(submitted.client.id, key)))
    [answer] = services().intake.submit([submitted])
    if isinstance(answer, Invalid):
        raise answer
    if isinstance(answer, Kept):
        return buffered_response(answer)
    waited = _wait_for(answer.transfer)
    return submitted_response(
        waited.transfer or answer.transfer, replayed=answer.replayed, waited=waited.applied
    )


def index() -> Response:
    """List the transfers that touch the caller's wallets, newest first."""
    page = parse_query(TransferQuery)
    narrow = TransferFilter(page.wallet, page.state, page.created_after, page.created_before)
    after = read_id_cursor("transfers", page.cursor)
    with services().database.autocommit() as connection:
        # One more than asked for tells whether there is a next page.
        found = list_transfers(
            connection, caller=caller(), limit=page.limit + 1, after=after, narrow=narrow
        )
    data = found[: page.limit]
    more = len(found) > page.limit
    cursor = make_cursor("transfers", data[-1].created_at, data[-1].id) if more else None
    answers = [transfer_answer(transfer) for transfer in data]
    return json_response(TransferList(data=answers, next_cursor=cursor))


def show(transfer_id: UUID) -> Response:
    """Show one transfer with its timeline; with Prefer: wait, once it has ended."""
    require_no_query()
    found = _read(transfer_id)
    if isinstance(found, Buffered):
        return json_response(buffered_detail(found))
    transfer, document = found
    waited = _wait_for(transfer)
    if waited.transfer is not None:
        _, document = _read_stored(transfer_id)
    return json_response(document, 200, {"Preference-Applied": "wait"} if waited.applied else None)


def not_available_yet(transfer_id: UUID) -> Response:  # noqa: ARG001 - the route's argument
    """Refuse what the contract names and this version does not do."""
    raise Problem("invalid_request", "This is not available yet.")


_Stored = tuple[Transfer, TransferDetail]
"""A transfer, and what is shown of it."""


def _read(transfer_id: UUID) -> _Stored | Buffered:
    """Read a transfer from the database or, where it is not there yet, from the buffer.

    Raises: NotFound: when it is in neither. Unavailable: when one of them cannot tell.
    """
    try:
        return _read_stored(transfer_id)
    except (NotFound, Unreachable) as error:
        buffered = services().buffer.find(transfer_id)
        if buffered is not None and _may_see(buffered):
            return buffered
        if isinstance(error, Unreachable):
            raise
    # It may have come from the one into the other while we looked.
    return _read_stored(transfer_id)


def _read_stored(transfer_id: UUID) -> _Stored:
    with services().database.autocommit() as connection:
        transfer = get_transfer(connection, transfer_id, caller=caller())
        entries = timeline(connection, transfer)
    return transfer, transfer_detail(transfer, entries)


def _may_see(buffered: Buffered) -> bool:
    """Whose wallets it touches is not known yet, so only whoever sent it may see it."""
    return caller().is_admin or buffered.request.client.id == caller().id


def _wait_for(transfer: Transfer) -> Waited:
    """Wait for the end of a transfer as long as the client prefers, if there is a place to."""
    seconds = wait_seconds(request.headers.get("Prefer"))
    if not seconds:
        return Waited(applied=False)
    if transfer.state in FINISHED:
        return Waited(applied=True, transfer=transfer)
    return services().waiting.wait(transfer.id, timeout_s=seconds)
