"""Wallet requests: creates one wallet per idempotency key, and changes what describes a wallet.

Guarantees that neither touches money or the rules that hold for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, update

from ledger.clients import Client
from ledger.postgres import schema
from ledger.resources.idempotency import claim_key
from ledger.wallets import Wallet, WalletKind, create_wallet, get_wallet


@dataclass(frozen=True, slots=True)
class WalletRequest:
    """A wallet as a client asks for it. owner_id: None for the client itself."""

    asset: str
    name: str | None
    external_id: str | None
    kind: WalletKind
    owner_id: UUID | None
    metadata: dict[str, Any]


def create_requested(
    connection: Connection, request: WalletRequest, *, caller: Client, key: str | None
) -> tuple[Wallet, bool]:
    """Create a wallet, or find the one that the caller created with this key.

    key: None to create one in any case.
    Returns: the wallet as it is now, and whether it is new.
    Raises: as `ledger.wallets.create_wallet`. IdempotencyKeyReused: when the key stands for a
    wallet with other content.
    """
    wallet_id = None
    if key is not None:
        content = {
            "asset": request.asset,
            "name": request.name,
            "external_id": request.external_id,
            "kind": request.kind,
            "owner": str(request.owner_id or caller.id),
            "metadata": request.metadata,
        }
        claim = claim_key(connection, client_id=caller.id, kind="wallet", key=key, content=content)
        if not claim.is_new:
            return get_wallet(connection, claim.resource_id, caller=caller), False
        wallet_id = claim.resource_id
    wallet = create_wallet(
        connection,
        caller=caller,
        asset=request.asset,
        name=request.name,
        kind=request.kind,
        owner_id=request.owner_id,
        metadata=request.metadata,
        external_id=request.external_id,
        wallet_id=wallet_id,
    )
    return wallet, True


def describe_wallet(
    connection: Connection, wallet_id: UUID, changes: dict[str, Any], *, caller: Client
) -> Wallet:
    """Change the name or the metadata of a wallet, also of one that is frozen or closed.

    changes: new values of `name` and `metadata`; what is not in it stays as it is.
    Raises: NotFound: when there is no such wallet, or the caller may not see it.
    """
    wallet = get_wallet(connection, wallet_id, caller=caller)
    if not changes:
        return wallet
    table = schema.wallets
    connection.execute(update(table).where(table.c.id == wallet_id).values(changes))
    return get_wallet(connection, wallet_id, caller=caller)
