"""Transfers over HTTP: requests to the ledger, group commit, waiting, and responses."""
