"""Funds that are still on their way: what may yet change a refusal, and who waits for it."""
