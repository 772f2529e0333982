"""Calls of the API, each written once, as a plan: for blocking and asynchronous clients."""
