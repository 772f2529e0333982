"""Operations of the contract, in the order in which the documentation page shows them."""

from __future__ import annotations

from typing import Final

from api.openapi.paths.assets import ASSETS
from api.openapi.paths.client_errors import CLIENT_ERRORS
from api.openapi.paths.clients import CLIENTS
from api.openapi.paths.health import HEALTH
from api.openapi.paths.ops import OPS
from api.openapi.paths.prices import PRICES
from api.openapi.paths.reconciliations import RECONCILIATIONS
from api.openapi.paths.transfers import TRANSFERS
from api.openapi.paths.wallets import WALLETS

OPERATIONS: Final = (
    *TRANSFERS,
    *WALLETS,
    *ASSETS,
    *PRICES,
    *CLIENTS,
    *RECONCILIATIONS,
    *OPS,
    *HEALTH,
    *CLIENT_ERRORS,
)
