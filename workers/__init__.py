"""The worker processes: the Celery application, what keeps a worker alive in outages, and Flower.

Workers run the tasks of `tasks/`, which move transfers through `ledger/`: a money worker reads
the queues of kicks and batches, a scans worker those that beat fills (`beat.schedule`).

- __main__: the program of a worker, and of beat.
- app: the application that `celery --app workers.app` loads; celery_app builds it.
- lifecycle: hooks at the start of a process: heartbeats, metrics, logs, and the parts below.
- consumer: reconnects to the broker; queue_repair replaces dead queues of RabbitMQ.
- consumer_watchdog: reconnects when messages wait and none arrives.
- pause_consumption: stops taking tasks while the database is away.
- link_request: sends the events of links that a process ran in a row.
- lossy_events: sends Celery's events without ever blocking a worker.
- task_logging: binds a task's ids to its log lines; sentry_hooks reports tasks to Sentry.
- flower/: the read-only front of Flower.
"""
