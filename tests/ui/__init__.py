"""Tests of the wallet page and the ops page, in a real browser."""
