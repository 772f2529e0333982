"""Environment variables of the client, read in this one place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from truepenny.errors import NotConfigured


@dataclass(frozen=True)
class Server:
    """Where the server is, and the key to it."""

    base_url: str
    api_key: str = field(repr=False)


def server(base_url: str | None, api_key: str | None) -> Server:
    """Return what is given, and the rest from TRUEPENNY_URL and TRUEPENNY_API_KEY.

    Raises: NotConfigured: when one is missing or cannot be used.
    """
    url = os.environ.get("TRUEPENNY_URL") if base_url is None else base_url
    key = os.environ.get("TRUEPENNY_API_KEY") if api_key is None else api_key
    if not url:
        raise NotConfigured("the server's address is missing: set TRUEPENNY_URL, or give base_url")
    if not key:
        raise NotConfigured("the API key is missing: set TRUEPENNY_API_KEY, or give api_key")
    if not _is_address(url):
        raise NotConfigured("the server's address is not one such as https://pay.example.com")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise NotConfigured("the API key has characters that no key has")
    return Server(url.rstrip("/"), key)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    has_more = parts.query or parts.fragment or parts.username is not None
    return parts.scheme in ("http", "https") and has_host and not has_more
