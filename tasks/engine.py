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
    """Return the engine, made on first use: after the fork, never shared between processes."""
    settings = Settings.from_environment()
    return build_engine(settings.database_url, application_name="worker", pool_size=POOL_SIZE)


def forget_engine() -> None:
    """Drop the engine inherited from the parent process without closing the parent's sockets."""
    if engine.cache_info().currsize:
        engine().dispose(close=False)
    engine.cache_clear()
