"""Keys: a client, or an admin for it, makes, lists and deletes API keys; `me` shows the own one."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response

from api.auth.api_keys import caller, caller_credential
from api.http.cursors import PagedList
from api.http.responses import json_response
from api.http.validation import parse_body, parse_query, require_no_body, require_no_query
from api.schemas.clients import KeyList, created_key, key_answer, me_answer
from api.schemas.requests import NewKey, PageQuery
from api.services import services
from ledger.clients import get_client
from ledger.keys.changes import create_key, list_keys, revoke_key


def blueprint(prefix: str) -> Blueprint:
    """Return the routes of keys."""
    routes = Blueprint("keys", __name__, url_prefix=prefix)
    keys = "/clients/<uuid:client_id>/keys"
    routes.post(keys)(create)
    routes.get(keys)(index)
    routes.delete(f"{keys}/<uuid:key_id>")(delete)
    routes.get("/me")(me)
    return routes


def create(client_id: UUID) -> Response:
    """Make another key. This answer alone shows it."""
    body = parse_body(NewKey)
    with services().database.transaction() as connection:
        key, api_key = create_key(
            connection,
            client_id,
            by=caller_credential(),
            name=body.name,
            scope=body.scope,
            expires_at=body.expires_at,
        )
    return json_response(created_key(key, api_key), 201)


def index(client_id: UUID) -> Response:
    """List a client's keys that are not deleted, oldest first."""
    page = parse_query(PageQuery)
    listed = PagedList("keys", page, of=client_id)
    after = listed.place_by_id()
    with services().database.autocommit() as connection:
        found = list_keys(
            connection, client_id, by=caller_credential(), limit=page.limit + 1, after=after
        )
    data = found[: page.limit]
    more = len(found) > page.limit
    cursor = listed.cursor_after(data[-1].created_at, data[-1].id) if more else None
    return json_response(KeyList(data=list(map(key_answer, data)), next_cursor=cursor))


def delete(client_id: UUID, key_id: UUID) -> Response:
    """End a key for good."""
    require_no_body()
    with services().database.transaction() as connection:
        revoke_key(connection, client_id, key_id, by=caller_credential())
    services().keys.look_now()
    return Response(status=204)


def me() -> Response:
    """Show the caller, and the key that it used."""
    require_no_query()
    with services().database.autocommit() as connection:
        record = get_client(connection, caller().id)
    return json_response(me_answer(record, caller_credential().key))
