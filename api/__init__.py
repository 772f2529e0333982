"""The HTTP API: from a request to a call of the ledger, and from its answer to a response.

Guarantees that every answer, whatever went wrong, has the shape the contract promises.
Decides nothing about money, and knows neither Celery nor the workers.
"""
