"""Answers of the server, as frozen and typed objects."""
