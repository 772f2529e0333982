"""Prices: Binance's, as fresh as they can be had, and never without their source and age.

    refreshing   one look at Binance: ask, judge, keep                      (a worker)
    binance      whom to ask, and what to make of the answer
    tickers      an answer's bytes into prices, or the reason why not
    jumps        whether a price that is far from the last one is believed
    notes        what refreshes must remember: in the cache, or else in this process
    shelf        the cache's side of it; archive: PostgreSQL's
    board        the best price there is, within half a second whatever hangs   (the API)

Guarantees that a price is labelled by its age, and that the age is measured by the clock of
the store that keeps it. Knows nothing of HTTP requests to us, of Celery, or of money.
"""
