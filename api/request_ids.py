"""Request ids: the client's own if it is harmless to log and to echo, else a fresh one."""

from __future__ import annotations

import os
import re

from flask import Flask, request
from structlog.contextvars import bind_contextvars, clear_contextvars

_HARMLESS = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
HEADER = "X-Request-Id"
_OFFERED = "HTTP_X_REQUEST_ID"
_CHOSEN = "truepenny.request_id"


def bind_ids_to_logs(app: Flask) -> None:
    """Put the ids of a request on every line that its thread logs until it is answered."""

    @app.before_request
    def bind() -> None:
        clear_contextvars()  # a thread serves one request after the other
        bind_contextvars(request_id=request_id())
        if transfer_id := (request.view_args or {}).get("transfer_id"):
            bind_contextvars(transfer_id=str(transfer_id))

    @app.teardown_request
    def unbind(_: BaseException | None) -> None:
        clear_contextvars()


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
