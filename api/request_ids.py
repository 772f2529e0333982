"""Request ids: the client's own if it is harmless to log and to echo, else a fresh one."""

from __future__ import annotations

import os
import re

from flask import g, request

_HARMLESS = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
HEADER = "X-Request-Id"


def choose_request_id(offered: str | None) -> str:
    """Return `offered` if it is 1 to 128 printable ASCII characters, else 128 random bits."""
    if offered is not None and _HARMLESS.fullmatch(offered):
        return offered
    return os.urandom(16).hex()


def request_id() -> str:
    """Return the id of the request being answered, the same one each time."""
    if "request_id" not in g:
        g.request_id = choose_request_id(request.headers.get(HEADER))
    return str(g.request_id)
