"""Tests of the HTTP contract, against a real gunicorn and a real database."""
