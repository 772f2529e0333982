"""Wallets: makes and shows them and their postings; freezes and closes them."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy import Connection

from api.auth.api_keys import admin, caller
from api.http.cursors import PagedList
from api.http.headers import optional_idempotency_key
from api.http.responses import json_response
from api.http.validation import parse_body, parse_query, require_no_body, require_no_query
from api.schemas.requests import (
    WALLET_FILTERS,
    BalanceQuery,
    NewWallet,
    PageQuery,
    WalletChange,
    WalletQuery,
)
from api.schemas.wallets import (
    PostingList,
    WalletList,
    balance_answer,
    posting_answer,
    wallet_answer,
)
from api.services import services
from ledger import wallets
from ledger.resources.wallet_requests import WalletRequest, create_requested, describe_wallet
from ledger.wallets import Wallet


def blueprint(prefix: str) -> Blueprint:
    """Return the routes below /wallets."""
    routes = Blueprint("wallets", __name__, url_prefix=f"{prefix}/wallets")
    routes.post("")(create)
    routes.get("")(index)
    routes.get("/<uuid:wallet_id>")(show)
    routes.patch("/<uuid:wallet_id>")(describe)
    routes.get("/<uuid:wallet_id>/postings")(postings)
    routes.get("/<uuid:wallet_id>/balance")(balance)
    routes.post("/<uuid:wallet_id>/freeze")(freeze)
    routes.post("/<uuid:wallet_id>/unfreeze")(unfreeze)
    routes.post("/<uuid:wallet_id>/close")(close)
    return routes


def create() -> Response:
    """Make an empty wallet, or find the one that was made with this idempotency key."""
    key = optional_idempotency_key()
    body = parse_body(NewWallet)
    request = WalletRequest(
        asset=body.asset,
        name=body.name,
        external_id=body.external_id,
        kind=body.kind,
        owner_id=body.owner,
        metadata=body.metadata or {},
    )
    with services().database.transaction() as connection:
        wallet, is_new = create_requested(connection, request, caller=caller(), key=key)
    headers = {"Location": f"/v1/wallets/{wallet.id}"}
    if not is_new:
        headers["Idempotent-Replayed"] = "true"
    return json_response(wallet_answer(wallet), 201 if is_new else 200, headers)


def index() -> Response:
    """List the caller's wallets, oldest first."""
    page = parse_query(WalletQuery)
    listed = PagedList("wallets", page, of=None if caller().is_admin else caller().id)
    after = listed.place_by_id()
    narrow = page.model_dump(include=set(WALLET_FILTERS), exclude_none=True)
    with services().database.autocommit() as connection:
        # One more than the limit shows whether there is a next page.
        found = wallets.list_wallets(
            connection, caller=caller(), limit=page.limit + 1, after=after, narrow=narrow
        )
    data = found[: page.limit]
    more = len(found) > page.limit
    cursor = listed.cursor_after(data[-1].created_at, data[-1].id) if more else None
    answers = [wallet_answer(wallet) for wallet in data]
    return json_response(WalletList(data=answers, next_cursor=cursor))


def show(wallet_id: UUID) -> Response:
    """Show one wallet."""
    require_no_query()
    with services().database.autocommit() as connection:
        wallet = wallets.get_wallet(connection, wallet_id, caller=caller())
    return json_response(wallet_answer(wallet))


def describe(wallet_id: UUID) -> Response:
    """Change the name or the metadata of a wallet."""
    body = parse_body(WalletChange)
    changes = body.model_dump(exclude_unset=True)
    if "metadata" in changes:
        changes["metadata"] = changes["metadata"] or {}
    with services().database.transaction() as connection:
        wallet = describe_wallet(connection, wallet_id, changes, caller=caller())
    return json_response(wallet_answer(wallet))


def postings(wallet_id: UUID) -> Response:
    """List a wallet's postings, newest first."""
    page = parse_query(PageQuery)
    listed = PagedList("postings", page, of=wallet_id)
    before = listed.place_by_seq()
    with services().database.autocommit() as connection:
        wallet, found = wallets.statement(
            connection, wallet_id, caller=caller(), limit=page.limit + 1, before=before
        )
    data = found[: page.limit]
    more = len(found) > page.limit
    cursor = listed.cursor_after(data[-1].created_at, data[-1].seq) if more else None
    answers = [posting_answer(line, scale=wallet.scale) for line in data]
    return json_response(PostingList(data=answers, next_cursor=cursor))


def balance(wallet_id: UUID) -> Response:
    """Show the balance at a given time."""
    at = parse_query(BalanceQuery).at
    with services().database.autocommit() as connection:
        wallet, then = wallets.balance_at(connection, wallet_id, at, caller=caller())
    return json_response(balance_answer(wallet, then, at))


def freeze(wallet_id: UUID) -> Response:
    """Freeze a wallet."""
    return _change(wallets.freeze, wallet_id)


def unfreeze(wallet_id: UUID) -> Response:
    """Unfreeze a wallet."""
    return _change(wallets.unfreeze, wallet_id)


def close(wallet_id: UUID) -> Response:
    """Close an empty wallet."""
    return _change(wallets.close, wallet_id)


def _change(change: Callable[[Connection, UUID], Wallet], wallet_id: UUID) -> Response:
    admin()
    require_no_body()
    with services().database.transaction() as connection:
        wallet = change(connection, wallet_id)
    return json_response(wallet_answer(wallet))
