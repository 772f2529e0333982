"""Idempotency keys, and the ids that transfers get from them."""

from __future__ import annotations

import uuid

MAX_KEY_LENGTH = 255


def new_key() -> str:
    """Return a key that nobody has used."""
    return str(uuid.uuid4())


def checked_key(key: str) -> str:
    """Return the key, if the server accepts it.

    Raises: TypeError: when it is no text. ValueError: when it is empty, too long, not printable,
    or has a space at either end.
    """
    if not isinstance(key, str):
        raise TypeError("an idempotency key is a str")
    if not (1 <= len(key) <= MAX_KEY_LENGTH and key.isprintable() and key == key.strip()):
        raise ValueError(
            f"an idempotency key has 1 to {MAX_KEY_LENGTH} printable characters, and no space at "
            "either end"
        )
    return key


def transfer_id(client_id: str | uuid.UUID, idempotency_key: str) -> str:
    """Return the id of the one transfer that a client can make with a key, without a request.

    client_id: the client that the API key belongs to, as `me().client.id` says.
    Raises: ValueError: when the id or the key cannot be one.
    """
    namespace = client_id if isinstance(client_id, uuid.UUID) else uuid.UUID(client_id)
    return str(uuid.uuid5(namespace, checked_key(idempotency_key)))
