"""Rejection rules: checked at acceptance, and again by reserve under the locks of the sources.

`ledger.reserve` repeats their conditions in SQL, to read only the transfers that may fail them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from ledger.errors import InsufficientFunds, Rejection, WalletClosed, WalletFrozen


@dataclass(frozen=True, slots=True)
class Terms:
    """The facts that decide about one transfer, apart from the available money."""

    amount_minor: int
    source_kind: str
    source_status: str
    destination_status: str


@dataclass(frozen=True, slots=True)
class FundsClaim:
    """A transfer that asks for a part of the money that its source has available."""

    transfer_id: UUID
    source_id: UUID
    source_available_minor: int
    terms: Terms


def rejection(terms: Terms, *, available_minor: int) -> Rejection | None:
    """Return why a transfer is rejected when its source has this much, or None if it is not."""
    for role, status in (
        ("source", terms.source_status),
        ("destination", terms.destination_status),
    ):
        if status == "closed":
            return WalletClosed(f"The {role} wallet is closed.")
        if status == "frozen":
            return WalletFrozen(f"The {role} wallet is frozen.")
    if terms.source_kind != "external" and available_minor < terms.amount_minor:
        # The detail contains no amount: the receiver may read it, too.
        return InsufficientFunds()
    return None


def find_rejected(claims: Iterable[FundsClaim]) -> list[tuple[UUID, Rejection]]:
    """Find the claims that are rejected, when each source's money is given out in their order.

    A claim for more than is left is rejected; a later, smaller one may still be met.
    Returns: (transfer id, reason) of each rejected claim.
    """
    left_minor: dict[UUID, int] = {}
    rejected = []
    for claim in claims:
        available_minor = left_minor.setdefault(claim.source_id, claim.source_available_minor)
        reason = rejection(claim.terms, available_minor=available_minor)
        if reason is None:
            left_minor[claim.source_id] = available_minor - claim.terms.amount_minor
        else:
            rejected.append((claim.transfer_id, reason))
    return rejected
