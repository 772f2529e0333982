"""Servers that `make up` starts or is given: PostgreSQL and Valkey."""
