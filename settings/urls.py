"""URL checks: whether a text is a URL of the kind that a setting needs.

The answer is only yes or no: the faulty part of a URL may be its password.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_DATABASE = re.compile(r"/?[0-9]{0,5}", re.ASCII)


def is_server_url(text: str) -> bool:
    """Whether every driver would read the same host, port and path."""
    try:
        url = urlsplit(text)
        user, _, hosts = url.netloc.rpartition("@")
        for host in hosts.split(","):  # PostgreSQL may have several
            urlsplit(f"//{host}").port  # noqa: B018 - raises when it is not a port
    except ValueError:
        return False
    is_numbered = url.scheme not in ("redis", "rediss") or _DATABASE.fullmatch(url.path)
    return "@" not in user and "#" not in text and bool(is_numbered)


def is_dsn(text: str) -> bool:
    """Whether the text is a Sentry DSN: host, key and project."""
    try:
        url = urlsplit(text)
        url.port  # noqa: B018 - raises when it is not a port
    except ValueError:
        return False
    project = url.path.rpartition("/")[2]
    is_whole = bool(url.hostname and url.username and project.isascii() and project.isdigit())
    return is_whole and url.scheme in ("http", "https") and not (url.query or url.fragment)


def is_web_url(text: str) -> bool:
    """Whether the text is the URL of a server, without a secret, a path or a query."""
    return is_page_url(text) and urlsplit(text).path in ("", "/")


def is_page_url(text: str) -> bool:
    """Whether the text is the URL of a page, without a secret or a query."""
    try:
        url = urlsplit(text)
        url.port  # noqa: B018 - raises when it is not a port
    except ValueError:
        return False
    is_bare = text.isprintable() and not (url.query or url.fragment or "@" in url.netloc)
    return url.scheme in ("http", "https") and bool(url.hostname) and is_bare
