"""Intake buffers: a Redis stream or a RabbitMQ queue, behind one protocol."""
