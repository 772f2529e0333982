"""Flower, read-only and behind a password."""
