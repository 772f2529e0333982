"""Assets: makes and lists the kinds of money."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth.api_keys import admin
from api.http.cursors import PagedList
from api.http.responses import json_response
from api.http.validation import parse_body, parse_query
from api.schemas.assets import AssetList, asset_answer
from api.schemas.requests import NewAsset, PageQuery
from api.services import services
from ledger.assets import Asset, create_asset, list_assets


def blueprint(prefix: str) -> Blueprint:
    """Return the routes below /assets."""
    routes = Blueprint("assets", __name__, url_prefix=f"{prefix}/assets")
    routes.post("")(create)
    routes.get("")(index)
    return routes


def create() -> Response:
    """Make an asset, or find the one that has this code and scale."""
    admin()
    body = parse_body(NewAsset)
    asset = Asset(body.code, body.scale)
    with services().database.transaction() as connection:
        is_new = create_asset(connection, asset)
    return json_response(asset_answer(asset), 201 if is_new else 200)


def index() -> Response:
    """List all assets, in the order of their codes."""
    page = parse_query(PageQuery)
    listed = PagedList("assets", page)
    after = listed.place_by_code()
    with services().database.autocommit() as connection:
        found = list_assets(connection, limit=page.limit + 1, after=after)
    data = found[: page.limit]
    cursor = listed.cursor_after_code(data[-1].code) if len(found) > page.limit else None
    return json_response(AssetList(data=[asset_answer(each) for each in data], next_cursor=cursor))
