"""Flower's front: the program that runs Flower read-only and behind a password.

    python -m workers.flower.front

Guarantees that without FLOWER_BASIC_AUTH a client learns only that it runs (`/healthcheck`),
that nothing can be changed through it, and that it sends the workers no requests by itself: they
send their events anyway. Flower has options for some of this, but each of its handlers has to
respect them; here a request that is not allowed reaches no handler.
"""

from __future__ import annotations

import hmac
import signal
import sys
from base64 import b64decode
from binascii import Error as NotBase64
from typing import Any, Final

from flower.app import Flower  # type: ignore[import-untyped] # it has no types, nor has tornado
from flower.options import options  # type: ignore[import-untyped]
from flower.urls import settings as web_settings  # type: ignore[import-untyped]
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler

from monitoring.logs import configure, get_logger
from settings import Settings, SettingsError
from workers.celery_app import make_celery
from workers.flower.events import SteadyEvents
from workers.flower.queues import QueueLengths, QueuesPage

log = get_logger(__name__)

HEALTHCHECK: Final = "/healthcheck"
READING: Final = ("GET", "HEAD")
_QUERIES: Final = ("/tasks/datatable",)
"""Pages use POST to read these."""
MAX_TASKS: Final = 10_000
MAX_WORKERS: Final = 500
SAVE_EVERY_MS: Final = 30_000
MAX_BODY_BYTES: Final = 64 * 1024
"""A body is read whole before the password is checked; Tornado's own limit is 100 MiB."""
_REQUEST_WITHIN_S: Final = 30
_FORGET_WORKERS_AFTER_S: Final = 3_600
"""In containers a restarted worker has a new name, so old names are soon useless."""


class DeniedHandler(RequestHandler):
    """Answers a request that is not allowed."""

    def initialize(self, status: int) -> None:
        """status: 401 without a valid password, 405 for a request that is not read-only."""
        self._status = status

    def check_xsrf_cookie(self) -> None:
        """Require no cookie: nothing is changed."""

    def prepare(self) -> None:
        """Answer any method."""
        self.set_status(self._status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        if self._status == 401:
            self.set_header("WWW-Authenticate", 'Basic realm="flower", charset="UTF-8"')
            self.finish("A name and a password are required.\n")
        else:
            self.set_header("Allow", ", ".join(READING))
            self.finish("This page is read-only.\n")


class ReadOnlyFlower(Flower):  # type: ignore[misc] # it has no types
    """Flower with a check in front of every request."""

    def __init__(self, passwords: list[str], **arguments: Any) -> None:
        self._passwords = [password.encode() for password in passwords]
        super().__init__(**arguments)
        # Before Flower's own handlers.
        self.add_handlers(".*", [("/broker", QueuesPage), ("/api/queues/length", QueueLengths)])

    def find_handler(self, request: HTTPServerRequest, **arguments: Any) -> Any:
        """Pass on a request that has a password and only reads; deny all others."""
        if request.path != HEALTHCHECK and not self._has_password(request):
            return self.get_handler_delegate(request, DeniedHandler, {"status": 401})
        reads = request.method in READING or (request.method == "POST" and request.path in _QUERIES)
        if not reads:
            return self.get_handler_delegate(request, DeniedHandler, {"status": 405})
        return super().find_handler(request, **arguments)

    def start_http_server(self) -> None:
        """Listen, with limits on what a client without a password can send."""
        self.listen(
            self.options.port,
            address=self.options.address,
            max_body_size=MAX_BODY_BYTES,
            body_timeout=_REQUEST_WITHIN_S,
            idle_connection_timeout=_REQUEST_WITHIN_S,
        )

    def _has_password(self, request: HTTPServerRequest) -> bool:
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        try:
            given = b64decode(encoded.strip(), validate=True)
        except (NotBase64, ValueError):
            return False
        # All are compared, so that the time it takes reveals nothing about any of them.
        matches = [hmac.compare_digest(given, password) for password in self._passwords]
        return scheme.lower() == "basic" and any(matches)


def make_flower(settings: Settings, passwords: list[str], loop: IOLoop) -> ReadOnlyFlower:
    """Build Flower. It connects to the broker when it is started.

    Raises: OSError: when its folder in DATA_DIR cannot be made.
    """
    folder = settings.data_dir / "flower"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    app = make_celery(settings)
    # Only from here: Flower's own command would also read options from the environment and from
    # a Python file in the current folder.
    for name, value in {
        "address": settings.host,
        "port": settings.flower_port,
        "basic_auth": passwords,
        "read_only": True,  # so that pages show no buttons
        "enable_events": False,  # workers send them anyway; Flower would ask them to every 5 s
        "natural_time": True,
        "tasks_columns": "name,args,state,received,started,runtime,worker,retries,uuid",
        "purge_offline_workers": _FORGET_WORKERS_AFTER_S,
        "inspect_timeout": 1_000.0,
    }.items():
        setattr(options, name, value)
    events = SteadyEvents(
        app,
        io_loop=loop,
        db=str(folder / "events"),
        persistent=True,
        enable_events=False,
        state_save_interval=SAVE_EVERY_MS,
        max_workers_in_memory=MAX_WORKERS,
        max_tasks_in_memory=MAX_TASKS,
    )
    return ReadOnlyFlower(
        passwords, options=options, capp=app, events=events, io_loop=loop, **web_settings
    )


def _passwords(settings: Settings) -> list[str]:
    if settings.flower_basic_auth is None:
        raise SettingsError("FLOWER_BASIC_AUTH is not set: Flower needs a password")
    return [each.strip() for each in settings.flower_basic_auth.split(",")]


def main() -> int:
    """Run until SIGTERM or Ctrl-C. Returns: the exit code."""
    try:
        settings = Settings.from_environment()
        configure(settings.log_level)
        loop = IOLoop.current()
        flower = make_flower(settings, _passwords(settings), loop)
        flower.start_http_server()
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"flower: {error}\n")
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.asyncio_loop.add_signal_handler(number, loop.stop)  # type: ignore[attr-defined]
    log.info("flower_started", port=settings.flower_port)
    flower.start()
    flower.stop()  # saves the events
    return 0


if __name__ == "__main__":
    sys.exit(main())
