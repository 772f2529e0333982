"""Test support shared by tests, benchmarks and the demo."""
