"""Assets, prices, reconciliations and health."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from truepenny.answers.decoding import Answer


@dataclass(frozen=True, kw_only=True)
class Asset(Answer):
    """A kind of money."""

    code: str
    scale: int
    """The number of decimals of all its amounts."""


@dataclass(frozen=True, kw_only=True)
class Price(Answer):
    """A price, with its source and its age."""

    symbol: str
    price: Decimal
    source: str
    """`live`, `stale` or `static`."""
    as_of: datetime | None
    age_s: float | None


@dataclass(frozen=True, kw_only=True)
class Finding(Answer):
    """A discrepancy in the books, and what was done about it."""

    kind: str
    wallet: str | None
    asset: str | None
    transfer: str | None
    detail: str
    action: str
    before: Mapping[str, Any] | None = field(hash=False)
    after: Mapping[str, Any] | None = field(hash=False)
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Reconciliation(Answer):
    """A run of the scan that checks the books."""

    id: str
    trigger: str
    state: str
    started_at: datetime
    finished_at: datetime | None
    progress: float
    """The part that is done, an estimate; 1 when it has finished."""
    transfers_checked: int
    wallets_checked: int
    assets_checked: int
    findings_count: int
    standing_count: int
    findings: tuple[Finding, ...] | None = None
    """Only where one run was read by itself."""
