"""Transfers over HTTP: from a checked body to the ledger, and from a transfer to its answer."""
