"""Whether a text is an address of the kind that a setting asks for.

Says no more than yes or no: what is wrong with an address may well be the password in it.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_DATABASE = re.compile(r"/?[0-9]{0,5}", re.ASCII)


def is_server_url(text: str) -> bool:
    """Whether host, port and path can be told apart, for every driver in the same way."""
    try:
        url = urlsplit(text)
        user, _, hosts = url.netloc.rpartition("@")
        for host in hosts.split(","):  # PostgreSQL may have several
            urlsplit(f"//{host}").port  # noqa: B018 - raises when it is none
    except ValueError:
        return False
    is_numbered = url.scheme not in ("redis", "rediss") or _DATABASE.fullmatch(url.path)
    return "@" not in user and "#" not in text and bool(is_numbered)


def is_dsn(text: str) -> bool:
    """Whether the text says where to send to, as whom, and for which project."""
    try:
        url = urlsplit(text)
        url.port  # noqa: B018 - raises when it is none
    except ValueError:
        return False
    project = url.path.rpartition("/")[2]
    is_whole = bool(url.hostname and url.username and project.isascii() and project.isdigit())
    return is_whole and url.scheme in ("http", "https") and not (url.query or url.fragment)


def is_web_url(text: str) -> bool:
    """Whether the text is the address of a server, without a secret, a path or a query."""
    return is_page_url(text) and urlsplit(text).path in ("", "/")


def is_page_url(text: str) -> bool:
    """Whether the text is the address of a page, without a secret or a query."""
    try:
        url = urlsplit(text)
        url.port  # noqa: B018 - raises when it is none
    except ValueError:
        return False
    is_bare = text.isprintable() and not (url.query or url.fragment or "@" in url.netloc)
    return url.scheme in ("http", "https") and bool(url.hostname) and is_bare
