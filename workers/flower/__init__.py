"""Flower, read-only and behind a password.

- front: the program; it checks each request before Flower sees it.
- events: receives Celery's events, and reconnects.
- queues: the page and the answer with the lengths of queues.
"""
