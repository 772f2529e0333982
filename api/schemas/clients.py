"""Answers about clients."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.fields import IdText
from ledger.clients import Client, Scope


class ClientAnswer(TypedDict):
    """A new client."""

    id: IdText
    name: str
    scope: Scope
    rate_limit: Annotated[str | None, Field(description="Its limit of writes.")]
    item_limit: Annotated[
        str | None, Field(description="Its limit of transfers that are newly stored.")
    ]
    api_key: Annotated[
        str, Field(description="Shown only in this answer. Only its hash is stored.")
    ]


def client_answer(client: Client, api_key: str) -> ClientAnswer:
    """Describe a new client with its key. No other answer shows the key."""
    return {
        "id": str(client.id),
        "name": client.name,
        "scope": client.scope,
        "rate_limit": client.rate_limit,
        "item_limit": client.item_limit,
        "api_key": api_key,
    }
