"""The Celery tasks: each decodes its message, calls one ledger function, publishes what follows.

The way of a transfer: the API records it (`ledger.acceptance`) and asks for a kick
(`tasks.broker.kick`). A money worker runs the chain reserve → deduct → credit → commit
(`tasks.chain`); each link is one ledger step (`ledger.steps`) in one database transaction.

The broker carries hints only. A lost, doubled, late or reordered message changes nothing: the
state in the database decides, and the recovery scan finds transfers that do not move.

- chain: the four steps and the rollback of one batch; step_metrics measures them, retry paces
  their retries.
- recovery, drain, reconciliation, transfer_counts, prices, server_watch: one scan each. Beat
  sends them (`beat.schedule`), a scans worker runs them, run_log records how each run ended
  (of the reconciliation, the database does).
- engine: the database engine of a worker process.
- broker/: queues, publications, kicks, and backpressure while the broker is full.
- buffer/: requests kept on the broker while the database is away.
"""
