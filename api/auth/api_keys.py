"""API keys: authenticates the client of a request, and says what its key may do."""

from __future__ import annotations

from collections.abc import Callable

from flask import g, request
from structlog.contextvars import bind_contextvars

from api.auth.key_ring import KeyRing
from api.http.problems import Problem
from ledger.clients import Client
from ledger.errors import Forbidden
from ledger.keys.credentials import Credential

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Those that change nothing."""
_MAX_KEY_LENGTH = 256


def authenticate(keys: KeyRing, *, count_failure: Callable[[], None]) -> None:
    """Find the client of the request, once per request, for `caller`.

    Raises: Problem unauthenticated; or what `count_failure` raises after too many failures.
    """
    scheme, _, api_key = request.headers.get("Authorization", "").partition(" ")
    api_key = api_key.strip()
    found = None
    if scheme.lower() == "bearer" and 0 < len(api_key) <= _MAX_KEY_LENGTH:
        found = keys.credential_of(api_key)
    if found is None:
        count_failure()
        raise Problem(
            "unauthenticated",
            "Send a valid API key as: Authorization: Bearer KEY",
            headers={"WWW-Authenticate": "Bearer"},
        )
    g.caller = found
    bind_contextvars(client_id=str(found.client.id))


def require_right_to_write() -> None:
    """Raises: Forbidden: when the request may change something, and its key may only read."""
    if request.method in SAFE_METHODS or not is_caller_known():
        return
    if caller_credential().key.scope != "write":
        raise Forbidden("This key may only read: its scope is read.")


def caller_credential() -> Credential:
    """Return the client that made the request and its key, which `authenticate` has found."""
    found: Credential = g.caller
    return found


def caller() -> Client:
    """Return the client that made the request."""
    return caller_credential().client


def is_caller_known() -> bool:
    """Tell whether `authenticate` has found a client."""
    return "caller" in g


def admin() -> Client:
    """Return the client that made the request. Raises: Forbidden: when it is no admin."""
    client = caller()
    if not client.is_admin:
        raise Forbidden
    return client
