"""Discrepancies of wallets and assets: builds one, with its text, for each failed check."""

from __future__ import annotations

from collections.abc import Iterator

from ledger.money import format_amount
from ledger.reconciliation.findings import Discrepancy
from ledger.reconciliation.orphan_scan import posting_orphaned
from ledger.reconciliation.wallet_check import WalletCheck


def posting_discrepancies(check: WalletCheck) -> Iterator[Discrepancy]:
    """Yield the discrepancies of the postings that this check has read."""
    for transfer_id, leg in check.orphans:
        yield posting_orphaned(check.wallet_id, transfer_id, leg)
    for broken in check.breaks:
        after, expected = (
            format_amount(amount_minor, scale=check.scale)
            for amount_minor in (broken.after_minor, broken.expected_minor)
        )
        yield Discrepancy(
            kind="chain_broken",
            wallet_id=check.wallet_id,
            transfer_id=broken.transfer_id,
            leg=broken.leg,
            wallet_ids=(check.wallet_id,),
            detail=f"The posting ({broken.leg}) has the balance {after}, which does not "
            f"follow from the posting before it: that gives {expected}.",
        )


def hold_discrepancies(check: WalletCheck) -> Iterator[Discrepancy]:
    """Yield the discrepancies of a complete check, except those of the wallet's row."""
    if check.are_postings_missing:
        yield Discrepancy(
            kind="postings_missing",
            wallet_id=check.wallet_id,
            wallet_ids=(check.wallet_id,),
            detail="The wallet has had postings that are gone: its clock or an earlier run of "
            "the scan knows of them.",
        )
    if check.is_transit_wrong:
        booked, between = (
            format_amount(amount_minor, scale=check.scale)
            for amount_minor in (check.booked, check.between)
        )
        yield Discrepancy(
            kind="transit_wrong",
            wallet_id=check.wallet_id,
            asset=check.asset,
            wallet_ids=(check.wallet_id,),
            detail=f"{booked} is in transit by its postings, but {between} by the unfinished "
            "transfers.",
        )
    if check.is_overdrawn:
        yield Discrepancy(
            kind="overdrawn",
            wallet_id=check.wallet_id,
            wallet_ids=(check.wallet_id,),
            detail="By its postings and holds, the available amount is below zero.",
        )


def asset_discrepancy(asset: str, total_minor: int, transits: int) -> Discrepancy:
    """Return the discrepancy of an asset.

    total_minor: the sum of its wallets' balances. transits: the number of its transit wallets.
    """
    if transits != 1:
        detail = f"The asset has {transits} transit wallets instead of one."
        return Discrepancy(kind="transit_missing", asset=asset, detail=detail)
    detail = f"The balances of all its wallets add up to {total_minor} minor units instead of zero."
    return Discrepancy(kind="asset_not_zero", asset=asset, detail=detail)
