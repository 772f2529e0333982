"""The decided noes: why a transfer is refused, asked at the door and again at reserve."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from ledger.errors import InsufficientFunds, Rejection, WalletClosed, WalletFrozen


@dataclass(frozen=True, slots=True)
class Terms:
    """What decides about one transfer, besides the money. The amount is in minor units."""

    amount_minor: int
    source_kind: str
    source_status: str
    destination_status: str


@dataclass(frozen=True, slots=True)
class FundsClaim:
    """A transfer that asks for a part of what its source has available, in minor units."""

    transfer_id: UUID
    source_id: UUID
    source_available_minor: int
    terms: Terms


def refusal(terms: Terms, *, available_minor: int) -> Rejection | None:
    """Why a transfer on these terms is refused when its source has this much, if it is."""
    for role, status in (
        ("source", terms.source_status),
        ("destination", terms.destination_status),
    ):
        if status == "closed":
            return WalletClosed(f"The {role} wallet is closed.")
        if status == "frozen":
            return WalletFrozen(f"The {role} wallet is frozen.")
    if terms.source_kind != "external" and available_minor < terms.amount_minor:
        # The detail names no figure: the receiver may read it, too.
        return InsufficientFunds()
    return None


def decide(claims: Iterable[FundsClaim]) -> list[tuple[UUID, Rejection]]:
    """Go through the claims in order and give each source's money to whoever still fits.

    A transfer that does not fit is refused; a later, smaller one may still fit.
    Returns: the refused ones, each with its reason.
    """
    available: dict[UUID, int] = {}
    refused = []
    for claim in claims:
        left = available.setdefault(claim.source_id, claim.source_available_minor)
        reason = refusal(claim.terms, available_minor=left)
        if reason is None:
            available[claim.source_id] = left - claim.terms.amount_minor
        else:
            refused.append((claim.transfer_id, reason))
    return refused
