"""Request ids: the client's own if it is harmless to log and to echo, else a fresh one."""

from __future__ import annotations

import os
import re

from flask import request

_HARMLESS = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
HEADER = "X-Request-Id"
_OFFERED = "HTTP_X_REQUEST_ID"
_CHOSEN = "truepenny.request_id"


def choose_request_id(offered: str | None) -> str:
    """Return `offered` if it is 1 to 128 printable ASCII characters, else 128 random bits."""
    if offered is not None and _HARMLESS.fullmatch(offered):
        return offered
    return os.urandom(16).hex()


def request_id() -> str:
    """Return the id of the request being answered, the same one each time."""
    environ = request.environ
    if _CHOSEN not in environ:
        environ[_CHOSEN] = choose_request_id(environ.get(_OFFERED))
    return str(environ[_CHOSEN])
