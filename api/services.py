"""What the views call: the ledger's functions, bound to this process's connections.

Guarantees that building connects to nothing: engines and clients open their connections
when first used, which is after the server has forked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from flask import current_app
from sqlalchemy import Engine

from api.authentication import KeyRing
from api.intake import Intake
from api.scales import Scales
from api.waiting import PLACES, WaitingRoom
from ledger.assets import load_scales
from ledger.clients import Client, find_client
from ledger.database import autocommit, build_engine
from ledger.transfers import Transfer, find_transfers, finished_among
from monitoring.checks import all_checks
from monitoring.health import Health
from prices.board import Board, build_board
from prices.check import prices_check
from settings import Settings

EXTENSION = "truepenny"


@dataclass(frozen=True)
class Services:
    """Everything a view may use."""

    engine: Engine
    keys: KeyRing
    scales: Scales
    intake: Intake
    waiting: WaitingRoom
    prices: Board
    health: Health


def build_services(settings: Settings, *, kick: Callable[[], None]) -> Services:
    """Wire the services of one process.

    kick: tells the workers that there is work; never blocks, never raises.
    """
    engine = build_engine(settings.database_url, application_name="truepenny-api")
    own_engine = build_engine(
        settings.database_url, application_name="truepenny-health", pool_size=1
    )

    def find(api_key: str) -> Client | None:
        with autocommit(engine) as connection:
            return find_client(connection, api_key)

    def load() -> dict[str, int]:
        with autocommit(engine) as connection:
            return load_scales(connection)

    def look(transfer_ids: list[UUID]) -> dict[UUID, Transfer]:
        with autocommit(engine) as connection:
            finished = finished_among(connection, transfer_ids)
            return find_transfers(connection, list(finished)) if finished else {}

    prices = _build_prices(settings)
    checks = all_checks(
        engine=own_engine,
        broker_url=settings.broker_url,
        cache_url=settings.cache_url,
        prices=prices_check(prices),
    )
    return Services(
        engine=engine,
        keys=KeyRing(find),
        scales=Scales(load),
        intake=Intake(engine, kick),
        waiting=WaitingRoom(look, places=PLACES),
        prices=prices,
        health=Health(checks),
    )


def _build_prices(settings: Settings) -> Board:
    """Wire the prices, on a connection of their own: a pool full of payments is no outage."""
    return build_board(
        symbols=settings.price_symbols,
        fallback_prices=settings.fallback_prices,
        cache_url=settings.cache_url,
        engine=build_engine(
            settings.database_url, application_name="truepenny-prices", pool_size=1
        ),
    )


def services() -> Services:
    """Return the services of the application that answers the current request."""
    return cast(Services, current_app.extensions[EXTENSION])
