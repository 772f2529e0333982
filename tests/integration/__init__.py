"""Tests of single parts on real servers: PostgreSQL, Redis, RabbitMQ."""
