"""Tests of roles and poolers, on a real PostgreSQL."""
