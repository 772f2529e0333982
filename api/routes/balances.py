"""Balances: shows those of several wallets at one moment."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth.api_keys import caller
from api.http.responses import json_response
from api.http.validation import parse_query
from api.schemas.requests import BalancesQuery
from api.schemas.wallets import BalanceList, wallet_balances
from api.services import services
from ledger.wallets import get_wallets


def blueprint(prefix: str) -> Blueprint:
    """Return the route /balances."""
    routes = Blueprint("balances", __name__, url_prefix=f"{prefix}/balances")
    routes.get("")(index)
    return routes


def index() -> Response:
    """Show the balances of the wallets that the query names, read by one statement."""
    page = parse_query(BalancesQuery)
    with services().database.autocommit() as connection:
        found = get_wallets(connection, page.wallet, caller=caller())
    return json_response(BalanceList(data=list(map(wallet_balances, found)), next_cursor=None))
