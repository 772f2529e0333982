"""Prices in the table of health: how good the ones are that would be shown right now."""

from __future__ import annotations

from monitoring.health.report import Check, Component
from prices.lookup import PriceLookup
from prices.quotes import Quote


def prices_check(board: PriceLookup) -> Check:
    """Look at every price. Not live is degraded, never down: transfers need no price."""

    def check() -> Component:
        return _summary(board.quotes())

    return check


def _summary(quotes: list[Quote]) -> Component:
    static = [quote for quote in quotes if quote.source == "static"]
    stale = [quote for quote in quotes if quote.source == "stale"]
    said = []
    if static:
        # Which symbols it is matters only where others have a price.
        names = "" if len(static) == len(quotes) else f" for {_names(static)}"
        said.append(f"static{names}: Binance has not answered yet; trades refuse these")
    if stale:
        oldest_s = max(quote.age_s or 0 for quote in stale)
        said.append(
            f"stale: {len(stale)} of {len(quotes)} are the last that were known, "
            f"the oldest {oldest_s:.0f} s old"
        )
    if said:
        return Component("degraded", "; ".join(said))
    return Component("ok", f"{len(quotes)} live")


def _names(quotes: list[Quote]) -> str:
    return ", ".join(quote.symbol for quote in quotes)
