"""Transfers: submits one, shows one with its timeline, lists them.

A transfer is rejected for lack of funds by `ledger/rejections.py`: when it is accepted, and again
when a worker reserves the money. `api/__init__.py` lists all steps.
"""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response, request
from structlog.contextvars import bind_contextvars

from api.auth.api_keys import caller, caller_credential
from api.http.cursors import PagedList
from api.http.headers import idempotency_key, wait_seconds
from api.http.problems import Problem
from api.http.responses import json_response
from api.http.validation import parse_body, parse_query, require_no_query
from api.schemas.requests import NewTransfer, TransferQuery
from api.schemas.transfers import (
    TransferDetail,
    TransferList,
    buffered_detail,
    transfer_answer,
    transfer_detail,
)
from api.services import require_room, services
from api.transfers.requests import transfer_request
from api.transfers.responses import buffered_response, submitted_response
from api.transfers.settlement_wait import WaitResult
from ledger.buffer.entries import Buffered, Kept
from ledger.errors import Invalid, NotFound, Unreachable
from ledger.ids import transfer_id as transfer_id_of
from ledger.polling.recorded_order import list_recorded
from ledger.states import FINISHED
from ledger.transfers import Transfer, TransferFilter, get_transfer, list_transfers, timeline


def blueprint(prefix: str) -> Blueprint:
    """Return the routes below /transfers, except those of batch requests."""
    routes = Blueprint("transfers", __name__, url_prefix=f"{prefix}/transfers")
    routes.post("")(create)
    routes.get("")(index)
    routes.get("/<uuid:transfer_id>")(show)
    for action in ("capture", "void", "refund"):
        routes.post(f"/<uuid:transfer_id>/{action}", endpoint=action)(not_available_yet)
    return routes


def create() -> Response:
    """Submit a transfer; with Prefer: wait, also wait for its end."""
    # Parse.
    require_room()
    key = idempotency_key()
    body = parse_body(NewTransfer)
    submitted = transfer_request(
        body,
        sender=caller_credential(),
        idempotency_key=key,
        scale_of=services().scales.for_request(),
    )
    bind_contextvars(transfer_id=str(transfer_id_of(submitted.client.id, key)))

    # Call: the ledger records, rejects or finds invalid what is submitted here.
    [outcome] = services().submission.submit(caller(), [submitted])
    if isinstance(outcome, Invalid):
        raise outcome

    # Answer.
    if isinstance(outcome, Kept):
        return buffered_response(outcome, reader=caller())
    waited = _wait_for(outcome.transfer)
    transfer = waited.transfer or outcome.transfer
    return submitted_response(
        transfer, reader=caller(), replayed=outcome.replayed, waited=waited.applied
    )


def index() -> Response:
    """List the transfers that touch the caller's wallets, newest first."""
    page = parse_query(TransferQuery)
    key = page.idempotency_key
    narrow = TransferFilter(
        id=None if key is None else transfer_id_of(caller().id, key),
        wallet_id=page.wallet,
        state=page.state,
        created_after=page.created_after,
        created_before=page.created_before,
    )
    listed = PagedList("transfers", page, of=None if caller().is_admin else caller().id)
    if page.order == "recorded":
        return _recorded(listed, narrow, limit=page.limit)
    after = listed.place_by_id()
    with services().database.autocommit() as connection:
        # One more than the limit shows whether there is a next page.
        found = list_transfers(
            connection, caller=caller(), limit=page.limit + 1, after=after, narrow=narrow
        )
    data = found[: page.limit]
    more = len(found) > page.limit
    cursor = listed.cursor_after(data[-1].created_at, data[-1].id) if more else None
    answers = [transfer_answer(transfer, reader=caller()) for transfer in data]
    return json_response(TransferList(data=answers, next_cursor=cursor))


def _recorded(listed: PagedList, narrow: TransferFilter, *, limit: int) -> Response:
    """List them in the order of recording, for a poller."""
    if narrow.state is not None:
        raise Problem(
            "invalid_request",
            "state cannot be used with order=recorded: a transfer that changes its state after "
            "the cursor has passed it would be missed.",
        )
    with services().database.autocommit() as connection:
        data, place = list_recorded(
            connection, caller=caller(), limit=limit, after=listed.recorded_place(), narrow=narrow
        )
    answers = [transfer_answer(transfer, reader=caller()) for transfer in data]
    return json_response(TransferList(data=answers, next_cursor=listed.cursor_at(place)))


def show(transfer_id: UUID) -> Response:
    """Show one transfer with its timeline; with Prefer: wait, once it has ended."""
    require_no_query()
    found = _read(transfer_id)
    if isinstance(found, Buffered):
        return json_response(buffered_detail(found, reader=caller()))
    transfer, document = found
    waited = _wait_for(transfer)
    if waited.transfer is not None:
        _, document = _read_stored(transfer_id)
    return json_response(document, 200, {"Preference-Applied": "wait"} if waited.applied else None)


def not_available_yet(transfer_id: UUID) -> Response:  # noqa: ARG001 - the route's argument
    """Refuse what the contract names and this version does not do."""
    raise Problem("invalid_request", "This is not available yet.")


_Stored = tuple[Transfer, TransferDetail]
"""A transfer, and its description for the answer."""


def _read(transfer_id: UUID) -> _Stored | Buffered:
    """Read a transfer from the database or, where it is not there yet, from the buffer.

    Raises: NotFound: when it is in neither. Unavailable: when one of them cannot be read.
    """
    try:
        return _read_stored(transfer_id)
    except (NotFound, Unreachable) as error:
        buffered = services().buffer.find(transfer_id)
        # Until it is in the ledger, its wallets' owners are not known: show it to its sender.
        if buffered is not None and (
            caller().is_admin or buffered.request.client.id == caller().id
        ):
            return buffered
        if isinstance(error, Unreachable):
            raise
    # It may have moved from the buffer to the database between the two reads.
    return _read_stored(transfer_id)


def _read_stored(transfer_id: UUID) -> _Stored:
    with services().database.autocommit() as connection:
        transfer = get_transfer(connection, transfer_id, caller=caller())
        entries = timeline(connection, transfer)
    return transfer, transfer_detail(transfer, entries, reader=caller())


def _wait_for(transfer: Transfer) -> WaitResult:
    """Wait for the end of a transfer as long as the client prefers, if a slot is free."""
    timeout_s = wait_seconds(request.headers.get("Prefer"))
    if not timeout_s:
        return WaitResult(applied=False)
    if transfer.state in FINISHED:
        return WaitResult(applied=True, transfer=transfer)
    return services().settlement_waiter.wait(transfer.id, timeout_s=timeout_s)
