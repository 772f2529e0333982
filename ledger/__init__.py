"""The money core: assets, wallets, transfers, postings and the rules between them.

Guarantees the promises of docs/ARCHITECTURE.md with the database's help alone. Knows
nothing of HTTP, Celery or prices: everything here is a function of a connection.
"""
