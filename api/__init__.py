"""HTTP API: turns a request into a call of the ledger, and its result into an answer.

Guarantees that every answer, whatever went wrong, has the shape that the contract promises.
Decides nothing about money, and knows neither Celery nor the workers.

The packages: `routes/` one module per resource · `http/` bodies, headers, problems · `schemas/`
shapes of requests and answers · `auth/` API keys · `rate_limits/` · `transfers/` group
commit and waiting · `ops/` snapshot, metrics, reports · `openapi/` the contract. `app.py` puts
the steps around each request together, `services.py` what one process needs.

The way of a transfer through `POST /v1/transfers`:
1. `app.py`: find the client of the key (`auth/`), count the request (`rate_limits/`).
2. `routes/transfers.py`: `create` calls all that follows.
3. `http/headers.py`, `http/validation.py`: check the key and the body (`schemas/requests.py`).
4. `transfers/requests.py`: turn the amount into minor units of the asset.
5. `transfers/group_commit.py`: store it together with others that arrive at the same time.
6. `ledger/acceptance.py` records it, or rejects it by `ledger/rejections.py` (no funds, frozen).
7. While the database is away: `ledger/buffer/` keeps it on the broker instead.
8. After the commit, a kick tells the workers; `ledger/reserve.py` checks the funds again.
9. `transfers/settlement_wait.py`: with `Prefer: wait`, wait for the end.
10. `transfers/responses.py`: choose the status. A rejection is answered by `http/problems.py`.
"""
