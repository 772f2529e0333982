"""The routes: one module per kind of object, each view parse, call, answer."""

from __future__ import annotations

from flask import Blueprint

from api.routes import (
    batches,
    client_errors,
    clients,
    documentation,
    health,
    metrics,
    ops,
    pages,
    prices,
    reconciliations,
    transfers,
    wallets,
)


def all_blueprints(prefix: str) -> list[Blueprint]:
    """Return every blueprint, made anew. prefix: where the versioned contract starts."""
    return [
        clients.blueprint(prefix),
        wallets.blueprint(prefix),
        transfers.blueprint(prefix),
        batches.blueprint(prefix),
        prices.blueprint(prefix),
        reconciliations.blueprint(prefix),
        ops.blueprint(prefix),
        health.blueprint(),
        metrics.blueprint(),
        client_errors.blueprint(),
        documentation.blueprint(),
        pages.blueprint(),
    ]
