"""Intake buffers: keep requests on the broker while the database is away.

- intake_buffer: chooses the buffer by the broker's URL.
- redis_stream: the buffer on Redis.
- rabbitmq_queue: the buffer on RabbitMQ, over connections of amqp_link; receipts notes in the
  cache which requests it holds, client_shares how many each client has there.
- put_log: notes in the cache what was put into either, so that a loss is noticed.
- __main__: commands for an operator.

The protocol is `ledger.buffer.entries.IntakeBuffer`; `tasks.drain` empties the buffer.
"""
