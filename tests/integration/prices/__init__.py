"""Tests of prices with real stores and a fake Binance over HTTP."""
