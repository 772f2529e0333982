"""Browser reports: the fields of an error report, who may send one, and how many.

Guarantees that nobody who can reach the pages, or can make other browsers do so, floods the
logs or the alarms: each address has a limit, and each process one for all addresses. Needs
neither the database nor the broker, for pages fail most often when those are away.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from flask import Request
from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from api.http.problems import Problem
from api.rate_limits.client_ip import client_address
from api.rate_limits.counters import Counters
from api.rate_limits.rate_limit import RateLimit
from api.schemas.fields import number_schema, text_schema
from api.schemas.requests import Body
from monitoring.logs import get_logger

BODY_LIMIT: Final = 16 * 1024
LIMIT_PER_ADDRESS: Final = "30/minute"
MAX_PER_PROCESS: Final = 120
"""How many reports a process takes in a minute, from all addresses together."""
_WINDOW_S: Final = 60.0
MAX_COUNT: Final = 1_000_000

_PANEL: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_PATH: Final = re.compile(r"/[^?#]{0,299}")

log = get_logger(__name__)


def _panel(value: object) -> str:
    if not (isinstance(value, str) and _PANEL.fullmatch(value)):
        raise PydanticCustomError(
            "panel", "must start with a-z and have at most 32 characters of a-z, 0-9 and -"
        )
    return value


def _request_id(value: object) -> str:
    if not (isinstance(value, str) and _REQUEST_ID.fullmatch(value)):
        raise PydanticCustomError("request_id", "must have 1 to 128 printable ASCII characters")
    return value


def _path(value: object) -> str:
    if not (isinstance(value, str) and _PATH.fullmatch(value) and value.isprintable()):
        raise PydanticCustomError(
            "path", "must be a path of at most 300 characters, without a query"
        )
    return value


def _name(value: object) -> str:
    if not (isinstance(value, str) and 1 <= len(value) <= 100 and value.isprintable()):
        raise PydanticCustomError("name", "must have 1 to 100 printable characters")
    return value


def _count(value: object) -> int:
    if not (type(value) is int and 1 <= value <= MAX_COUNT):
        raise PydanticCustomError("count", f"must be a whole number from 1 to {MAX_COUNT}")
    return value


class ClientError(Body):
    """An error that happened in one of our pages, once or several times."""

    page: Annotated[Literal["wallet", "ops"], Field(description="The page.")]
    panel: (
        Annotated[
            str,
            PlainValidator(_panel),
            text_schema(
                "The panel that failed; null for the whole page.", pattern="^[a-z][a-z0-9-]*$"
            ),
        ]
        | None
    ) = None
    kind: Annotated[
        Literal["error", "rejection", "render"],
        Field(
            description="error: uncaught. rejection: of a promise. render: while a panel was drawn."
        ),
    ]
    name: Annotated[
        str, PlainValidator(_name), text_schema("The error's name.", minLength=1, maxLength=100)
    ]
    message: Annotated[str, Field(max_length=2_000, description="The error's message.")]
    stack: Annotated[str, Field(max_length=12_000, description="The error's stack.")] | None = None
    url: (
        Annotated[
            str,
            PlainValidator(_path),
            text_schema("The page's path, without a query.", pattern="^/[^?#]*$", maxLength=300),
        ]
        | None
    ) = None
    request_id: (
        Annotated[
            str,
            PlainValidator(_request_id),
            text_schema("The X-Request-Id of the request that failed.", minLength=1, maxLength=128),
        ]
        | None
    ) = None
    count: Annotated[
        int,
        PlainValidator(_count),
        number_schema("How often it happened.", minimum=1, maximum=MAX_COUNT),
    ]


def require_own_page(request: Request) -> None:
    """Accept requests of our own pages, and of programs, which send no origin at all.

    Raises: Problem forbidden: when a browser sends it for another site.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        is_own = site == "same-origin"
    else:
        origin = request.headers.get("Origin")
        # The scheme is not compared: a proxy in front of us may have terminated TLS.
        is_own = origin is None or _host(origin) == request.host
    if not is_own:
        raise Problem("forbidden", "Only pages of this site may report errors here.")


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # not a URL
        return None


class ReportLimit:
    """Limits the reports per address, and per process for all addresses together."""

    def __init__(self, counters: Counters, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = RateLimit(
            LIMIT_PER_ADDRESS,
            counters,
            scope="client-errors",
            what="Reports from one address are",
        )
        self._clock = clock
        self._lock = threading.Lock()
        self._begun_at_s = -math.inf
        self._count = 0

    def count(self) -> None:
        """Count the current request.

        Raises: Problem rate_limited: when its address, or all together, sent too many.
        """
        self._limit.check(client_address())
        if (wait_s := self._wait_s()) > 0:
            raise Problem(
                "rate_limited",
                "Too many errors are being reported. This report was dropped.",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )

    def _wait_s(self) -> float:
        """Count one report of any address. Returns: how long to wait; 0 when it may pass."""
        now_s = self._clock()
        with self._lock:
            if now_s - self._begun_at_s >= _WINDOW_S:
                self._begun_at_s, self._count = now_s, 0
            self._count += 1
            count, wait_s = self._count, self._begun_at_s + _WINDOW_S - now_s
        if count <= MAX_PER_PROCESS:
            return 0.0
        if count == MAX_PER_PROCESS + 1:  # once a minute
            log.warning("client_errors_dropped", per_minute=MAX_PER_PROCESS)
        return wait_s
