"""Intake buffers: keep requests on the broker while the database is away.

- intake_buffer: makes the buffer that fits the broker.
- redis_stream: the buffer on Redis.
- rabbitmq_queue: the buffer on RabbitMQ; receipts notes in the cache which requests it holds.

The protocol is `ledger.buffer.entries.IntakeBuffer`; `tasks.drain` empties the buffer.
"""
