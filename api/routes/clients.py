"""Clients: an admin makes API keys for programs."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth.api_keys import admin
from api.http.responses import json_response
from api.http.validation import parse_body
from api.schemas.clients import client_answer
from api.schemas.requests import NewClient
from api.services import services
from ledger.clients import create_client


def blueprint(prefix: str) -> Blueprint:
    """Return the routes below /clients."""
    routes = Blueprint("clients", __name__, url_prefix=f"{prefix}/clients")
    routes.post("")(create)
    return routes


def create() -> Response:
    """Make a client. This answer alone shows its key."""
    admin()
    body = parse_body(NewClient)
    with services().database.transaction() as connection:
        client, api_key = create_client(
            connection,
            name=body.name,
            scope=body.scope,
            rate_limit=body.rate_limit or services().client_rate_limit,
            item_limit=body.item_limit or services().item_limit.default,
        )
    return json_response(client_answer(client, api_key), 201)
