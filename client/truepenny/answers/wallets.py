"""Wallets, their postings and their balances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from truepenny.answers.decoding import Answer


@dataclass(frozen=True, kw_only=True)
class Wallet(Answer):
    """A wallet, as it was when it was read."""

    id: str
    owner: str | None
    asset: str
    kind: str
    name: str | None
    external_id: str | None
    status: str
    """`active`, `frozen` or `closed`."""
    balance: Decimal
    reserved: Decimal
    """Set aside for transfers under way."""
    incoming: Decimal
    """Credited, but not committed yet."""
    available: Decimal
    """What can be spent: balance - reserved - incoming."""
    metadata: Mapping[str, Any] = field(hash=False)
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Posting(Answer):
    """One movement of a wallet."""

    transfer_id: str
    leg: str
    amount: Decimal
    """Positive when the wallet received it."""
    balance_after: Decimal
    counterparty: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Balance(Answer):
    """What a wallet held at a given time."""

    wallet_id: str
    asset: str
    at: datetime
    balance: Decimal


@dataclass(frozen=True, kw_only=True)
class WalletBalances(Answer):
    """What a wallet holds; several that were read together are of one moment."""

    wallet_id: str
    asset: str
    balance: Decimal
    reserved: Decimal
    incoming: Decimal
    available: Decimal
