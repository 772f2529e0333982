"""Prices of Binance: as fresh as possible, always labelled with their source and age.

refresher        one refresh: fetch, check, store                          (a worker)
binance/         hosts in turn, tickers, pauses after errors, bounded HTTP
outlier_filter   holds back a price that jumped, until it is confirmed
stores/          cache, database, guarded reads, state of the refreshes
lookup           best price now, within half a second                      (the API)
health_check     prices in /health
quotes, decimals the data classes, and exact arithmetic

Guarantees that the age of a price is measured by the clock of the store that keeps it. Must not
know HTTP requests to the API, Celery or money.
"""
