"""Clients: an admin makes, shows, disables and enables programs that may call."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy import Connection

from api.auth.api_keys import admin, caller_credential
from api.http.cursors import PagedList
from api.http.headers import optional_idempotency_key
from api.http.responses import json_response
from api.http.validation import parse_body, parse_query, require_no_body, require_no_query
from api.schemas.clients import ClientList, client_answer, created_client
from api.schemas.requests import NewClient, PageQuery
from api.services import services
from ledger.clients import ClientRecord, get_client, list_clients
from ledger.keys.changes import disable_client, enable_client
from ledger.keys.client_requests import ClientRequest, create_requested_client


def blueprint(prefix: str) -> Blueprint:
    """Return the routes below /clients, except those of keys."""
    routes = Blueprint("clients", __name__, url_prefix=f"{prefix}/clients")
    routes.post("")(create)
    routes.get("")(index)
    routes.get("/<uuid:client_id>")(show)
    routes.post("/<uuid:client_id>/disable")(disable)
    routes.post("/<uuid:client_id>/enable")(enable)
    return routes


def create() -> Response:
    """Make a client with its first key, or find the one that was made with this idempotency key.

    Only the first answer shows the key.
    """
    admin()
    key = optional_idempotency_key()
    body = parse_body(NewClient)
    request = ClientRequest(body.name, body.scope, body.rate_limit, body.item_limit)
    with services().database.transaction() as connection:
        record, api_key = create_requested_client(
            connection,
            request,
            by=caller_credential(),
            key=key,
            default_rate_limit=services().client_rate_limit,
            default_item_limit=services().item_limit.default,
        )
    headers = {"Location": f"/v1/clients/{record.client.id}"}
    if api_key is None:
        headers["Idempotent-Replayed"] = "true"
    return json_response(created_client(record, api_key), 201 if api_key else 200, headers)


def index() -> Response:
    """List all clients, oldest first."""
    admin()
    page = parse_query(PageQuery)
    listed = PagedList("clients", page)
    after = listed.place_by_id()
    with services().database.autocommit() as connection:
        found = list_clients(connection, limit=page.limit + 1, after=after)
    data = found[: page.limit]
    more = len(found) > page.limit
    cursor = listed.cursor_after(data[-1].created_at, data[-1].client.id) if more else None
    answers = [client_answer(record) for record in data]
    return json_response(ClientList(data=answers, next_cursor=cursor))


def show(client_id: UUID) -> Response:
    """Show one client."""
    admin()
    require_no_query()
    with services().database.autocommit() as connection:
        record = get_client(connection, client_id)
    return json_response(client_answer(record))


def disable(client_id: UUID) -> Response:
    """Refuse all keys of a client."""
    return _change(disable_client, client_id)


def enable(client_id: UUID) -> Response:
    """Let a client's keys in again."""
    return _change(enable_client, client_id)


def _change(change: Callable[[Connection, UUID], ClientRecord], client_id: UUID) -> Response:
    admin()
    require_no_body()
    with services().database.transaction() as connection:
        record = change(connection, client_id)
    services().keys.look_now()
    return json_response(client_answer(record))
