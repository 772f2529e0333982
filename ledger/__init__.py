"""Money core: assets, wallets, transfers, postings and the rules between them.

Guarantees the promises of docs/ARCHITECTURE.md with the database alone. Knows nothing of
HTTP, Celery or prices: everything here works on a connection that the caller brings.

Read first:
    acceptance, rejections  a request becomes a transfer, or is rejected, with the reason
    movements, steps        the table of movements, and the steps that apply it to a batch
    recovery, isolation     transfers that stopped moving, and the one that fails its batch
    errors                  every error, and whether to retry, reject or raise the alarm
Packages:
    buffer                  requests kept on the broker during an outage, and their replay
    reconciliation          the consistency scan: checks wallets and journal, and repairs
    postgres                tables, connections, the meaning of PostgreSQL's errors
"""
