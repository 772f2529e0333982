"""Tests of the consistency scan, on books that a test has corrupted."""
