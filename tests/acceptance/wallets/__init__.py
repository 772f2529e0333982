"""Acceptance tests of wallets, their assets and their balances, over HTTP."""
