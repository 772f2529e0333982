"""Binance client: prices from its hosts in turn, within a bounded time.

client    hosts in turn, respecting every pause
tickers   bytes of an answer → prices
backoff   status and headers → pauses
http      GET requests with a limit on total time and size
"""
