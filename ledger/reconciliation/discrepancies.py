"""What is said of what is wrong with a wallet's postings and holds, and with an asset."""

from __future__ import annotations

from collections.abc import Iterator

from ledger.money import format_amount
from ledger.reconciliation.findings import Discrepancy
from ledger.reconciliation.wallet_scan import WalletCheck


def wrong_postings(look: WalletCheck) -> Iterator[Discrepancy]:
    """What is wrong with the postings of a wallet that were read just now."""
    for transfer_id, leg in look.orphans:
        yield Discrepancy(
            kind="posting_orphaned",
            wallet_id=look.wallet_id,
            transfer_id=transfer_id,
            leg=leg,
            wallet_ids=(look.wallet_id,),
            detail=f"There is a posting ({leg}), but no such transfer.",
        )
    for broken in look.breaks:
        after, expected = (
            format_amount(amount, scale=look.scale) for amount in (broken.after, broken.expected)
        )
        yield Discrepancy(
            kind="chain_broken",
            wallet_id=look.wallet_id,
            transfer_id=broken.transfer_id,
            leg=broken.leg,
            wallet_ids=(look.wallet_id,),
            is_about_amounts=False,  # those are held against the transfers
            detail=f"The posting ({broken.leg}) says a balance of {after}, which does not "
            f"follow from the one before it: {expected} would.",
        )


def wrong_holds(look: WalletCheck) -> Iterator[Discrepancy]:
    """What is wrong with a wallet whose postings have all been read, if not with its row."""
    if look.is_transit_wrong:
        told = [format_amount(it, scale=look.scale) for it in (look.booked, look.between)]
        yield Discrepancy(
            kind="transit_wrong",
            wallet_id=look.wallet_id,
            asset=look.asset,
            wallet_ids=(look.wallet_id,),
            detail=f"{told[0]} is in transit by its postings, {told[1]} by the transfers under "
            "way.",
        )
    if look.is_overdrawn:
        yield Discrepancy(
            kind="overdrawn",
            wallet_id=look.wallet_id,
            wallet_ids=(look.wallet_id,),
            detail="By its postings and holds, less than nothing is available.",
        )


def wrong_asset(asset: str, total: int, transits: int) -> Discrepancy:
    """What is wrong with an asset. total: of its wallets' balances, in minor units."""
    if transits != 1:
        detail = f"The asset has {transits} transit wallets instead of one."
        return Discrepancy(kind="transit_missing", asset=asset, detail=detail)
    detail = f"The balances of all its wallets add up to {total} minor units instead of zero."
    return Discrepancy(kind="asset_not_zero", asset=asset, detail=detail)
