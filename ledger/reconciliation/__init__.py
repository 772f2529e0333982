"""Reconciliation: checks wallets and journal against the postings, and repairs."""
