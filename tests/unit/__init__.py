"""Tests without any server: each imports a part and calls it."""
