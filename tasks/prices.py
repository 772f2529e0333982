"""The price refresh as a task: fetches prices from Binance.

It works without the database and without the cache.
"""

from __future__ import annotations

from functools import cache

from celery import shared_task

from prices.refresher import Refresher, RefreshResult
from prices.stores.cache import KEPT_S, PriceCache, connect
from prices.stores.database import PriceTable
from settings import Settings
from tasks.engine import engine
from tasks.run_log import JobRun, recorded_run

TASK_NAME = "prices.refresh"
CACHE_TIMEOUT_S = 0.5
FAKE_KEPT_S = 60
"""How long the cache keeps prices when KEEP_PRICES is no, as with a fake Binance. After a change
back to real prices, nobody may see such a price, and no real one may be compared with it."""


@shared_task(name=TASK_NAME)
def refresh() -> None:
    """Fetch the prices once. A second run at the same time finds nothing to do.

    Without symbols it does nothing: beat may have sent it before prices were switched off.
    """
    if not Settings.from_environment().price_symbols:
        return
    with recorded_run("prices") as run:
        _record(run, refresher().refresh())


def _record(run: JobRun, refreshed: RefreshResult) -> None:
    if refreshed.elsewhere:
        return  # the process that does the refresh records it
    run.ok = bool(refreshed.prices) and not refreshed.refused
    if refreshed.prices or refreshed.refused:
        run.result = f"{len(refreshed.prices)} prices refreshed"
        if refreshed.refused:
            names = ", ".join(refreshed.refused)
            run.result += f", {len(refreshed.refused)} rejected as implausible: {names}"
    else:
        run.result = "no prices: Binance does not answer, or asked for a pause"


@cache
def refresher() -> Refresher:
    """Return the refresher of this process, made on first use, after the fork."""
    settings = Settings.from_environment()
    kept_s = KEPT_S if settings.keep_prices else FAKE_KEPT_S
    return Refresher(
        symbols=settings.price_symbols,
        urls=settings.binance_urls,
        jump_limit=settings.price_jump_limit,
        cache=PriceCache(
            connect(settings.cache_url, timeout_s=CACHE_TIMEOUT_S),
            key_prefix=settings.key_prefix,
            kept_s=kept_s,
        ),
        database=PriceTable(engine()) if settings.keep_prices else None,
    )
