"""Prices: read with their source and age, also while servers are away."""

from __future__ import annotations

from flask import Blueprint, Response

from api.http.responses import json_response
from api.http.validation import require_no_query
from api.schemas.prices import PriceList, price_answer
from api.services import services
from ledger.errors import NotFound


def blueprint(prefix: str) -> Blueprint:
    """Return the routes below /prices."""
    routes = Blueprint("prices", __name__, url_prefix=f"{prefix}/prices")
    routes.get("")(index)
    routes.get("/<symbol>")(show)
    return routes


def index() -> Response:
    """List every followed price, on one page: the settings name them all."""
    require_no_query()
    answers = [price_answer(quote) for quote in services().prices.quotes()]
    return json_response(PriceList(data=answers, next_cursor=None))


def show(symbol: str) -> Response:
    """Show one price."""
    require_no_query()
    quote = services().prices.quote(symbol)
    if quote is None:
        raise NotFound("This symbol is not followed; GET /v1/prices lists those that are.")
    return json_response(price_answer(quote))
