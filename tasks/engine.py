"""The database engine of this worker process."""

from __future__ import annotations

from functools import cache

from sqlalchemy import Engine

from ledger.postgres.database import build_engine
from settings import Settings

POOL_SIZE = 2
"""A process runs one task at a time."""


@cache
def engine() -> Engine:
    """The engine, made on first use: so after the fork, and never shared between processes."""
    settings = Settings.from_environment()
    return build_engine(settings.database_url, application_name="worker", pool_size=POOL_SIZE)


def forget_engine() -> None:
    """Drop the engine inherited from the parent process, leaving the parent's sockets alone."""
    if engine.cache_info().currsize:
        engine().dispose(close=False)
    engine.cache_clear()
