"""Tests of everything that talks to the broker, on real Redis and RabbitMQ."""
