"""Transfer requests: builds the ledger's request from a checked body, in minor units."""

from __future__ import annotations

from api.schemas.requests import NewTransfer
from api.transfers.asset_scales import ScaleOf
from ledger.acceptance import TransferRequest
from ledger.errors import InvalidField
from ledger.keys.credentials import Credential
from ledger.money import parse_amount


def transfer_request(
    body: NewTransfer, *, sender: Credential, idempotency_key: str, scale_of: ScaleOf
) -> TransferRequest:
    """Build the ledger's request.

    Raises: InvalidField: when the asset does not exist, the amount has too many decimals for
    it, or the body asks for something that is not available yet.
    """
    if body.capture != "auto":
        raise InvalidField("/capture", "may only be auto: manual is not available yet")
    if body.expires_in_s is not None:
        raise InvalidField("/expires_in_s", "is not available yet")
    scale = scale_of(body.asset)
    return TransferRequest(
        client=sender.client,
        idempotency_key=idempotency_key,
        source_id=body.source,
        destination_id=body.destination,
        asset=body.asset,
        scale=scale,
        amount_minor=parse_amount(body.amount, scale=scale),
        reference=body.reference,
        metadata=body.metadata,
        key_id=sender.key.id,
    )
