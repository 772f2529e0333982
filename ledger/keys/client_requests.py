"""Client requests: creates one client per idempotency key.

Guarantees that the key of a client is shown once: a repeat finds the client without it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection

from ledger.clients import ClientRecord, Scope, create_client, get_client
from ledger.keys.changes import require_power
from ledger.keys.credentials import Credential
from ledger.resources.idempotency import claim_key


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """A client as an admin asks for it. A limit that is None is the default one."""

    name: str
    scope: Scope
    rate_limit: str | None
    item_limit: str | None


def create_requested_client(
    connection: Connection,
    request: ClientRequest,
    *,
    by: Credential,
    key: str | None,
    default_rate_limit: str,
    default_item_limit: str,
) -> tuple[ClientRecord, str | None]:
    """Create a client, or find the one that the caller created with this idempotency key.

    by: an admin's credential. key: None to create one in any case.
    Returns: the client as it is now, and its API key in clear if it is new.
    Raises: Forbidden: when the client would have a key with more power than the one of `by`.
    IdempotencyKeyReused: when the key stands for a client with other content.
    """
    require_power(by, None, is_lesser=request.scope != "admin")
    client_id = None
    if key is not None:
        claim = claim_key(
            connection, client_id=by.client.id, kind="client", key=key, content=asdict(request)
        )
        if not claim.is_new:
            return get_client(connection, claim.resource_id), None
        client_id = claim.resource_id
    client, api_key = create_client(
        connection,
        name=request.name,
        scope=request.scope,
        rate_limit=request.rate_limit or default_rate_limit,
        item_limit=request.item_limit or default_item_limit,
        client_id=client_id,
    )
    return get_client(connection, client.id), api_key
