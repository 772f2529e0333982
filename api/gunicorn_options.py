"""gunicorn's options: refuses those that cannot work here, and logs no line per request."""

from __future__ import annotations

from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

from api.gunicorn_worker import BoundedThreadWorker


def unsupported(config: Config) -> str | None:
    """Return what is wrong with gunicorn's settings, in one line, or None."""
    if not issubclass(config.worker_class, BoundedThreadWorker):
        return "gunicorn's worker class cannot be changed"
    if config.is_ssl or config.proxy_protocol != "off" or config.http2_cleartext != "off":
        return (
            "gunicorn's options for TLS, HTTP/2 and the PROXY protocol are not supported: "
            "let a reverse proxy speak them, and set PROXY_HOPS"
        )
    return None


class QuietLogger(Logger):
    """Logs no line per request. Errors are logged where they happen, with the request id."""

    def access(self, *_args: Any) -> None:
        """Do nothing; not even format the line."""
