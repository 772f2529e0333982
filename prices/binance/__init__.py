"""Binance: bounded requests, tickers, and pauses after errors."""
