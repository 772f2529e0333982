"""Health check of the prices: how good the prices are that would be shown now."""

from __future__ import annotations

from monitoring.health.report import Check, Component
from prices.lookup import PriceLookup


def prices_check(lookup: PriceLookup) -> Check:
    """Return the check of all prices. Never "down", only "degraded": transfers need no price."""

    def check() -> Component:
        quotes = lookup.quotes()
        if not quotes:
            return Component("ok", "prices are off: PRICE_SYMBOLS is none")
        static = [quote.symbol for quote in quotes if quote.source == "static"]
        stale_ages_s = [quote.age_s or 0 for quote in quotes if quote.source == "stale"]
        details = []
        if static:
            # The symbols are named only if other symbols have a price.
            names = "" if len(static) == len(quotes) else f" for {', '.join(static)}"
            details.append(f"static{names}: Binance has not answered yet; trades refuse these")
        if stale_ages_s:
            details.append(
                f"stale: {len(stale_ages_s)} of {len(quotes)} are the last known prices, "
                f"the oldest {max(stale_ages_s):.0f} s old"
            )
        if details:
            return Component("degraded", "; ".join(details))
        return Component("ok", f"{len(quotes)} live")

    return check
