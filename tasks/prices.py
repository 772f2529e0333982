"""The refresh of prices as a task. It needs neither the database nor the cache to go on."""

from __future__ import annotations

from functools import cache

from celery import shared_task

from prices.refresher import Refresher, RefreshResult
from prices.stores.cache import KEPT_S, PriceCache, connect
from prices.stores.database import PriceTable
from settings import Settings
from tasks.engine import engine
from tasks.run_log import JobRun, noted

TASK_NAME = "prices.refresh"
CACHE_TIMEOUT_S = 0.5
PASSING_KEPT_S = 60
"""How long the cache keeps a price that is not to be kept: a real one must not be held against
it, nor anybody be shown it, when it is real ones that are asked for again."""


@shared_task(name=TASK_NAME)
def refresh() -> None:
    """Take one look at Binance. A second one at the same time finds nothing to do."""
    with noted("prices") as run:
        _say(run, refresher().refresh())


def _say(run: JobRun, looked: RefreshResult) -> None:
    if looked.elsewhere:
        return  # who has the turn says how it went
    run.ok = bool(looked.prices) and not looked.refused
    if looked.prices or looked.refused:
        run.result = f"{len(looked.prices)} prices refreshed"
        if looked.refused:
            run.result += f", {len(looked.refused)} not believed: {', '.join(looked.refused)}"
    else:
        run.result = "no prices: Binance does not answer, or asked for a pause"


@cache
def refresher() -> Refresher:
    """The refresher of this process, made on first use: so after the fork."""
    settings = Settings.from_environment()
    kept_s = KEPT_S if settings.keep_prices else PASSING_KEPT_S
    return Refresher(
        symbols=settings.price_symbols,
        urls=settings.binance_urls,
        jump_limit=settings.price_jump_limit,
        cache=PriceCache(connect(settings.cache_url, timeout_s=CACHE_TIMEOUT_S), kept_s=kept_s),
        database=PriceTable(engine()) if settings.keep_prices else None,
    )
