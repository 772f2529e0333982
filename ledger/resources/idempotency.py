"""Idempotency keys of new resources: one key of a client creates one resource of a kind.

Guarantees that a repeat finds the resource that the first request created, however many copies
arrive at once, and that clients do not see each other's keys. Transfers need none of this: their
ids follow from their keys, see `ledger.ids.transfer_id`.

The first statement of the transaction that creates a resource is `claim_key`; the resource then
gets the id of the claim. So key and resource are committed together, or neither is:

    claim = claim_key(connection, client_id=…, kind="wallet", key=…, content={…})
    if claim.is_new:
        insert(…, id=claim.resource_id)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from ledger.errors import IdempotencyKeyReused
from ledger.ids import new_id
from ledger.postgres import exact_json, schema

Kind = Literal["wallet", "client"]
"""A kind of resource. The same key may be used once for each kind."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The resource that a key stands for. is_new: it must be created, in this transaction."""

    resource_id: UUID
    is_new: bool


def claim_key(
    connection: Connection, *, client_id: UUID, kind: Kind, key: str, content: Mapping[str, Any]
) -> Claim:
    """Take a key for a new resource, or find the resource that it stands for already.

    Of two transactions with the same key the second waits until the first has ended.
    client_id: the client that sends the request.
    content: what the request asks for, as JSON values; a repeat has the same.
    Raises: IdempotencyKeyReused: when the key stands for a resource with other content.
    """
    table, wanted_id, digest = schema.idempotency_keys, new_id(), _fingerprint(content)
    scope = {"client_id": client_id, "kind": kind, "key": key}
    taken = (
        insert(table)
        .values(**scope, fingerprint=digest, resource_id=wanted_id)
        .on_conflict_do_nothing()
        .returning(table.c.resource_id)
    )
    if connection.scalar(taken) is not None:
        return Claim(wanted_id, is_new=True)
    query = select(table.c.fingerprint, table.c.resource_id)
    known = connection.execute(query.filter_by(**scope)).one()
    if bytes(known.fingerprint) != digest:
        raise IdempotencyKeyReused
    return Claim(known.resource_id, is_new=False)


def _fingerprint(content: Mapping[str, Any]) -> bytes:
    """Return a SHA-256 of the content. It is stored, so its form must never change."""
    return hashlib.sha256(exact_json.for_digest(content)).digest()
