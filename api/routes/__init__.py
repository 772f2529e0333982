"""Routes: one module per resource; each view parses, calls and answers."""

from __future__ import annotations

from flask import Blueprint

from api.routes import (
    assets,
    balances,
    batches,
    client_errors,
    clients,
    documentation,
    health,
    keys,
    metrics,
    ops,
    pages,
    prices,
    reconciliations,
    transfers,
    wallets,
)


def all_blueprints(prefix: str) -> list[Blueprint]:
    """Make every blueprint. prefix: the address below which the versioned contract lies."""
    return [
        clients.blueprint(prefix),
        keys.blueprint(prefix),
        wallets.blueprint(prefix),
        balances.blueprint(prefix),
        assets.blueprint(prefix),
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
